"""A TCP relay that cuts its connections after a number of bytes, as a bad network does.

tests/protocols/recorder.py has the other relay, which passes on whole messages and keeps them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Cut:
    """After how many bytes, in which direction; or else after `back_bytes` in the other one.

    is_unnoticed: the server is not told, as when a client comes back from another address.
    """

    bytes: int
    is_upward: bool
    back_bytes: int | None = None
    is_unnoticed: bool = False


class Relay:
    """Forwards to a port; each connection takes the next cut, and none when they are used up."""

    def __init__(self, port: int, cuts: Iterator[Cut]) -> None:
        self._target = port
        self._cuts = cuts
        self.port = 0
        self.cuts_made = 0
        self._left_open: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = next(self._cuts, None)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        one_way, back = (cut.bytes, cut.back_bytes) if cut else (None, None)
        up_bytes, down_bytes = (one_way, back) if cut and cut.is_upward else (back, one_way)
        up = self._forward(reader, up_writer, up_bytes)
        down = self._forward(up_reader, writer, down_bytes)
        tasks = [asyncio.create_task(up), asyncio.create_task(down)]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.cuts_made += any(task.result() for task in ended)
        finally:
            writer.transport.abort()
            if cut and cut.is_unnoticed:
                self._left_open.append(up_writer)
            else:
                up_writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def close(self) -> None:
        """Let go of what the server still holds open."""
        for writer in self._left_open:
            writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> bool:
        """Copy until the end, or until `left` bytes are through; whether they were."""
        with suppress(ConnectionError):
            while data := await reader.read(4096 if left is None else min(4096, left)):
                writer.write(data)
                await writer.drain()
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        return True
        return False


@asynccontextmanager
async def relay(port: int, cuts: Iterator[Cut]) -> AsyncIterator[Relay]:
    """A running relay in front of 127.0.0.1:port."""
    one = Relay(port, cuts)
    server = await asyncio.start_server(one.handle, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield one
        finally:
            one.close()
