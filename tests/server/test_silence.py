"""A connection on which nothing is said outlives the proxies on its way."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.engines.fake import spoken
from tests.fuzz.requests import HANDSHAKE
from tests.fuzz.wire import frame
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, client

PING = 0x89
PATIENCE_S = 1.0
"""After how long without a byte from the server the proxy cuts a connection."""


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[Server]:
    """The server behind a proxy that cuts silent connections, as nginx does."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(server.host, server.port)
        sending = asyncio.create_task(copy(reader, up_writer, DEADLINE_S))
        try:
            await copy(up_reader, writer, PATIENCE_S)
        finally:
            sending.cancel()
            up_writer.transport.abort()
            writer.transport.abort()

    async def copy(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float
    ) -> None:
        with suppress(TimeoutError, OSError):
            while data := await asyncio.wait_for(reader.read(2**16), patience_s):
                writer.write(data)

    async with await asyncio.start_server(forward, server.host, 0) as listener:
        yield replace(server, port=listener.sockets[0].getsockname()[1])


class Frames:
    """The frames that a server sends; nothing answers them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads: list[int] = []
        self._reader = reader
        self.writer = writer

    async def until(self, is_enough: Callable[[int, bytes], bool]) -> None:
        """Read up to the frame of which that is true."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                head, size = await self._reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
                payload = await self._reader.readexactly(size)
                self.heads.append(head)
                if is_enough(head, payload):
                    return

    async def until_pings(self, count: int) -> None:
        before = self.heads.count(PING)
        await self.until(lambda *_: self.heads.count(PING) >= before + count)


@asynccontextmanager
async def raw(server: Server, path: str) -> AsyncIterator[Frames]:
    """A WebSocket whose client never answers a ping."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(HANDSHAKE.replace(b"/v1/realtime", path.encode()))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    try:
        yield Frames(reader, writer)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
def test_a_silent_connection_outlives_a_proxy_and_needs_no_pong(
    serve_here: ServeHere, path: str
) -> None:
    server = serve_here(limits={"ping_after_s": 0.1})

    async def talk() -> None:
        async with proxied(server) as front, raw(front, path) as frames:
            await frames.until_pings(round(2 * PATIENCE_S / 0.1))
            frames.writer.write(frame(random.Random(0), PING, b"mark"))
            await frames.until(lambda head, payload: (head, payload) == (0x8A, b"mark"))

    asyncio.run(talk())


def test_that_proxy_cuts_a_connection_without_pings(serve_here: ServeHere) -> None:
    server = serve_here(limits={"ping_after_s": 60})

    async def talk() -> None:
        async with proxied(server) as front, connect(front.url, ping_interval=None) as socket:
            with pytest.raises(ConnectionClosed):
                while True:
                    await socket.recv()

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


def test_speech_after_a_silence_is_transcribed(serve_here: ServeHere) -> None:
    server = serve_here(limits={"ping_after_s": 0.1})

    async def talk() -> None:
        async with (
            proxied(server) as front,
            raw(front, "/ws") as clock,
            client(front.url, "fake-numbers") as one,
        ):
            await clock.until_pings(round(2 * PATIENCE_S / 0.1))
            assert (await one.transcribe(spoken([1, 2])))["text"] == "1 2"

    asyncio.run(talk())


def test_there_is_no_ping_while_the_server_speaks(serve_here: ServeHere) -> None:
    """Its answers keep a proxy patient by themselves."""
    ping_after_s = 1.0
    server = serve_here(limits={"ping_after_s": ping_after_s})
    ask = frame(
        random.Random(0),
        0x81,
        b'{"type":"ping","session_id":"s","request_id":"r","payload":{}}',
    )

    async def talk() -> None:
        async with raw(server, "/ws") as frames:
            began_s = last_s = time.monotonic()
            longest_s = 0.0
            while last_s - began_s < 3 * ping_after_s:
                frames.writer.write(ask)
                await frames.until(lambda _, payload: b'"pong"' in payload)
                await asyncio.sleep(ping_after_s / 10)
                now_s = time.monotonic()
                longest_s, last_s = max(longest_s, now_s - last_s), now_s
            assert PING not in frames.heads or longest_s > ping_after_s / 2
            await frames.until_pings(1)

    asyncio.run(talk())
