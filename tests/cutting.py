"""A TCP relay that cuts its connections after a number of bytes, as a bad network does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Cut:
    """After how many bytes, in which direction."""

    bytes: int
    is_upward: bool


class Relay:
    """Forwards to a port; each connection takes the next cut, and none when they are used up."""

    def __init__(self, port: int, cuts: Iterator[Cut]) -> None:
        self._target = port
        self._cuts = cuts
        self.port = 0
        self.cuts_made = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = next(self._cuts, None)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        up = self._forward(reader, up_writer, cut.bytes if cut and cut.is_upward else None)
        down = self._forward(up_reader, writer, cut.bytes if cut and not cut.is_upward else None)
        tasks = [asyncio.create_task(up), asyncio.create_task(down)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (writer, up_writer):
                one.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        """Copy until the end, or until `left` bytes are through."""
        with suppress(ConnectionError):
            while data := await reader.read(4096 if left is None else min(4096, left)):
                writer.write(data)
                await writer.drain()
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        self.cuts_made += 1
                        return


@asynccontextmanager
async def relay(port: int, cuts: Iterator[Cut]) -> AsyncIterator[Relay]:
    """A running relay in front of 127.0.0.1:port."""
    one = Relay(port, cuts)
    server = await asyncio.start_server(one.handle, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one
