"""The network between a browser and a box: a relay that falls silent, or cuts."""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Wire:
    """Forwards a port of 127.0.0.1 to another one, from a thread, as long as its context lasts."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        """Where browsers reach the target."""
        self._target_port = target_port
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="wire")

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join()

    def silence(self) -> None:
        """Nothing passes from now on, and nobody is told, as where there is no network."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def pass_on(self) -> None:
        """What waits passes, and what comes after it."""
        self._loop.call_soon_threadsafe(self._passes.set)

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        self._loop.call_soon_threadsafe(self._cut)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends, self._passes = asyncio.Event(), asyncio.Event()
        self._passes.set()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._ends.wait()
        server.close()
        self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _cut(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        with suppress(asyncio.CancelledError):
            await self._joined(reader, writer)
        self._connections.discard(task)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a connection with one to the target, until both directions have ended."""
        writers = [writer]
        try:
            await self._passes.wait()
            with suppress(OSError):
                back, other = await asyncio.open_connection("127.0.0.1", self._target_port)
                writers.append(other)
                await asyncio.gather(self._copy(reader, other), self._copy(back, writer))
        finally:
            for one in writers:
                one.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, and its end."""
        while True:
            data = await reader.read(65_536)
            await self._passes.wait()
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
