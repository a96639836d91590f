"""The network between a browser and a box: a relay that falls silent, or cuts."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self


class Wire:
    """Forwards a port of 127.0.0.1 to another one, from a thread, as long as its context lasts."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        """Where browsers reach the target."""
        self._target_port = target_port
        self._is_ending = False
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
        self._is_ending = True
        with suppress(ConnectionError):  # wakes the one who accepts, unless somebody else has
            socket.create_connection(("127.0.0.1", self.port)).close()
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
        self._passes = asyncio.Event()
        self._passes.set()
        self._connections: set[asyncio.Task[None]] = set()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            self._is_ready.set()
            await self._accept(listener)
        self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        """Not asyncio's server: one that is closed while it accepts leaves a connection open."""
        while True:
            accepted, _ = await self._loop.sock_accept(listener)
            if self._is_ending:
                accepted.close()
                return
            task = asyncio.create_task(self._handle(accepted))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            task.add_done_callback(partial(_close, accepted))

    def _cut(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _handle(self, accepted: socket.socket) -> None:
        """Join a connection with one to the target, until both directions have ended."""
        reader, writer = await asyncio.open_connection(sock=accepted)
        with _aborted(writer), suppress(OSError):
            await self._passes.wait()
            back, other = await asyncio.open_connection("127.0.0.1", self._target_port)
            with _aborted(other):
                await asyncio.gather(self._copy(reader, other), self._copy(back, writer))

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


@contextmanager
def _aborted(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()


def _close(accepted: socket.socket, _task: asyncio.Task[None]) -> None:
    """Also if the task was cancelled before it ran."""
    accepted.close()
