"""uvicorn, with the bounds it lacks: on handshakes, on connections, on closing.

uvicorn itself bounds the size of a request's head (64 KiB) and of a message, and reads no
further message before the last one is taken.
"""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lanscribe.config import LimitSettings

_GRACEFUL_SHUTDOWN_S = 1
_UNREAD_BYTES = 2**17
"""What the system holds for a client that does not read; half an hour of text fits in."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A peer that vanished is noticed after a minute. Not WebSocket pings: a pong would wait
behind the audio that flow control holds back, and a sender slowed down would look dead."""


class _HttpProtocol(H11Protocol):
    """HTTP, where a connection has to make a request in time and there may be only so many."""

    def __init__(self, *args: Any, limits: LimitSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._handshake_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
            return
        self._handshake_timer = self.loop.call_later(
            self._limits.handshake_timeout_s, transport.abort
        )

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._handshake_timer and self.conn.their_state is not h11.IDLE:
            self._handshake_timer.cancel()

    def _get_upgrade(self) -> bytes | None:
        """Of several Connection lines uvicorn reads the last; all count (RFC 9110, section 5.3).

        livekit's client of Mistral's protocol sends `Upgrade`, then `keep-alive`.
        """
        lines = [value for name, value in self.headers if name == b"connection"]
        options = [option.strip().lower() for option in b",".join(lines).split(b",")]
        upgrades = [value.lower() for name, value in self.headers if name == b"upgrade"]
        return upgrades[-1] if upgrades and b"upgrade" in options else None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._handshake_timer:
            self._handshake_timer.cancel()
        super().connection_lost(exc)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket, where closing ends in a bounded time whatever the peer does."""

    def __init__(self, *args: Any, limits: LimitSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = limits.close_timeout_s
        self._is_deaf = False

    def data_received(self, data: bytes) -> None:
        if not self._is_deaf:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Say why, then let the peer finish what it is sending, so that it can read that."""
        assert self.conn.close_sent is not None
        close = self.conn.close_sent
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._is_deaf = self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """A peer that does not read would keep a closed transport, and its buffer, for ever."""
        super().on_task_complete(task)
        self.loop.call_later(self.close_timeout, self.transport.abort)


class Server(uvicorn.Server):
    """uvicorn's server with a drain before its shutdown, and signals left to the program."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let running sessions end, then close what is left."""
        for server in self.servers:
            server.close()
        await self._drain()
        await super().shutdown(sockets)


def make_server(
    app: ASGIApp, limits: LimitSettings, drain: Callable[[], Awaitable[None]]
) -> Server:
    """A server for `app`, to be served on sockets of `bind`."""
    config = uvicorn.Config(
        app,
        http=partial(_HttpProtocol, limits=limits),  # type: ignore[arg-type]
        ws=partial(_WebSocketProtocol, limits=limits),  # type: ignore[arg-type]
        ws_max_size=limits.message_bytes,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_S,
    )
    return Server(config, drain)


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket that listens there. Raises OSError when the address is taken or not ours."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def stop_on_signals(server: Server) -> None:
    """Let Ctrl-C and SIGTERM stop `server`; a second one ends it without the drain."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server)


def _stop(server: Server) -> None:
    server.force_exit = server.should_exit
    server.should_exit = True
