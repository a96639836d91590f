"""uvicorn, with the bounds it lacks: on handshakes, on connections, on closing.

uvicorn itself bounds the size of a request's head (16 KiB, if it does not come in one piece) and of
a message, and reads no further message before the last one is taken.
"""

import asyncio
import logging
import socket
import ssl
import struct
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from lanscribe import reasons
from lanscribe.config import LimitSettings
from lanscribe.errors import ProtocolError
from lanscribe.http_errors import error_response
from lanscribe.limits import has_more_than_its_share
from lanscribe.tasks import first_of

log = logging.getLogger(__name__)

_GRACEFUL_SHUTDOWN_S = 1
_UNREAD_BYTES = 2**17
"""What the system holds for a client that does not read; half an hour of text fits in."""
_NO_REQUEST = "got no HTTP request, or one whose head is larger than 16 KiB; expected HTTP/1.1"
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A peer that vanished while nothing was under way to it is noticed after a minute; the second is
macOS's name of the first. Not WebSocket pings: a pong would wait behind the audio that flow control
holds back, and a sender slowed down would look dead."""
_TCP_INFO = struct.Struct("=24x I 28x I")
"""Of Linux's struct tcp_info: tcpi_unacked in packets, tcpi_last_ack_recv in ms ago."""
_TICKS_PER_S = 10


@dataclass(frozen=True, slots=True)
class SecureListener:
    """Where to serve over TLS, and with which certificate."""

    socket: socket.socket
    context: ssl.SSLContext


class _HttpProtocol(H11Protocol):
    """HTTP, where every request has to come in time, and so many connections may be there."""

    def __init__(self, *args: Any, limits: LimitSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if _is_one_too_many(self, self.connections, self._limits):
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Bound the wait for a request, for the rest of one that was answered, and for a reader."""
        is_served = self.cycle is not None and not self.cycle.response_complete
        if is_served or self.transport.get_protocol() is not self:
            self._stop_watching()
        elif self._timer is None:
            self._wait()

    def _wait(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        is_exchanging = unread_bytes or self.conn.their_state is h11.SEND_BODY
        limits = self._limits
        wait_s = limits.send_timeout_s if is_exchanging else limits.handshake_timeout_s
        self._timer = self.loop.call_later(wait_s, self._give_up, unread_bytes)

    def _give_up(self, unread_bytes: int) -> None:
        """Drop the connection, unless its client is reading a long answer."""
        if 0 < self.transport.get_write_buffer_size() < unread_bytes:
            self._wait()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no HTTP, unless an answer is under way."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = error_response(ProtocolError("invalid_request", _NO_REQUEST))
            headers = [*response.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _get_upgrade(self) -> bytes | None:
        """Of several Connection lines uvicorn reads the last; all count (RFC 9110, section 5.3).

        livekit's client of Mistral's protocol sends `Upgrade`, then `keep-alive`.
        """
        lines = [value for name, value in self.headers if name == b"connection"]
        options = [option.strip().lower() for option in b",".join(lines).split(b",")]
        upgrades = [value.lower() for name, value in self.headers if name == b"upgrade"]
        return upgrades[-1] if upgrades and b"upgrade" in options else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)


class _Handshake(ServerProtocol):
    """WebSocket's own rules, whose refusals have the shape of all others."""

    def reject(self, status: StatusLike, text: str) -> Response:
        """The answer to a handshake that breaks the rules, or meets a defect."""
        is_ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
        error = reasons.defect() if is_ours else ProtocolError("invalid_request", text.strip())
        refusal, response = error_response(error, int(status)), super().reject(status, "")
        response.body = bytes(refusal.body)
        for name, value in refusal.headers.items():
            response.headers.pop(name, None)
            response.headers[name] = value
        return response


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket, where closing ends in a bounded time whatever the peer does."""

    def __init__(self, *args: Any, limits: LimitSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Handshake(max_size=limits.message_bytes, logger=self.logger)
        self.close_timeout = limits.close_timeout_s
        self._is_deaf = False

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        super().data_received(data)
        if not self.handshake_initiated:  # of a refused request head uvicorn says nothing
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

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


class _TlsHandshake(asyncio.Protocol):
    """A connection until its TLS handshake is done: counted and bounded like any other.

    asyncio's own TLS listener says nothing of a connection before that.
    """

    def __init__(
        self, context: ssl.SSLContext, limits: LimitSettings, http: _HttpProtocol, tasks: set[Any]
    ) -> None:
        self._context = context
        self._limits = limits
        self._http = http
        self._tasks = tasks
        self._early_data = b""
        self._transport: asyncio.Transport | None = None
        self.client: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.client = get_remote_addr(transport)
        self._http.connections.add(self)  # type: ignore[arg-type]
        transport.pause_reading()
        if _is_one_too_many(self, self._http.connections, self._limits):
            self.shutdown()
            return
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Keep what comes together with the handshake's end, before HTTP takes over."""
        self._early_data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connections.discard(self)

    def shutdown(self) -> None:
        """Give the connection up, as uvicorn asks of its own."""
        assert self._transport is not None
        self._transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
                ssl_shutdown_timeout=self._limits.close_timeout_s,
            )
        except OSError as error:
            log.debug("a TLS handshake failed: %s", error)
            secured = None
        finally:
            self._http.connections.discard(self)
        if secured is not None and not secured.is_closing():
            secured.set_protocol(self._http)
            self._http.connection_made(secured)
            if self._early_data:
                self._http.data_received(self._early_data)


def _is_one_too_many(
    one: _HttpProtocol | _TlsHandshake, connections: Iterable[Any], limits: LimitSettings
) -> bool:
    """Whether a new connection, one of `connections`, goes beyond limits.connections."""
    peers = [other.client[0] if other.client else "" for other in connections]
    peer = one.client[0] if one.client else ""
    return len(peers) > limits.connections or has_more_than_its_share(
        peer, peers, limits.connections
    )


class Server(uvicorn.Server):
    """uvicorn's server with a drain before its shutdown, and signals left to the program."""

    def __init__(
        self,
        config: uvicorn.Config,
        limits: LimitSettings,
        drain: Callable[[], Coroutine[Any, Any, None]],
        tls: SecureListener | None,
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._drain = drain
        self._tls = tls
        self._is_in_a_hurry = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on `sockets`, and beside them over TLS."""
        await super().startup(sockets)
        if self._tls:
            loop = asyncio.get_running_loop()
            self.servers.append(
                await loop.create_server(self._secure_protocol, sock=self._tls.socket)
            )

    def _secure_protocol(self) -> _TlsHandshake:
        assert self._tls is not None
        http = _HttpProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            limits=self._limits,
        )
        return _TlsHandshake(self._tls.context, self._limits, http, self.server_state.tasks)

    async def on_tick(self, counter: int) -> bool:
        """Once in a while: whether to stop."""
        if counter % _TICKS_PER_S == 0:
            self._drop_who_vanished()
        return await super().on_tick(counter)

    def _drop_who_vanished(self) -> None:
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            peer = transport.get_extra_info("socket") if transport else None
            if peer is None or peer.fileno() < 0:
                continue  # it is only just coming, or gone
            if has_vanished(peer, self._limits.vanished_s):
                log.info("a client has vanished: it acknowledges nothing any more")
                transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let running sessions end, then close what is left."""
        for server in self.servers:
            server.close()
        await first_of(self._drain(), self._until_in_a_hurry())
        await super().shutdown(sockets)

    async def _until_in_a_hurry(self) -> None:
        await self._is_in_a_hurry.wait()

    def stop(self, *, at_once: bool) -> None:
        """End `serve`; at_once: without a drain."""
        self.should_exit = True
        if at_once:
            self.force_exit = True
            self._is_in_a_hurry.set()


def make_server(
    app: ASGIApp,
    limits: LimitSettings,
    drain: Callable[[], Coroutine[Any, Any, None]],
    tls: SecureListener | None = None,
) -> Server:
    """A server for `app`, to be served on sockets of `bind`, and over TLS on that of `tls`."""
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
    return Server(config, limits, drain, tls)


def has_vanished(peer: TransportSocket, longest_s: float) -> bool:
    """Whether it has acknowledged nothing for so long, though it was sent something.

    TCP goes on for a quarter of an hour. Its TCP_USER_TIMEOUT would also end the connection to who
    only does not read for a while. Only Linux tells; elsewhere nobody has vanished.
    """
    if sys.platform != "linux":
        return False
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    unacknowledged, silent_ms = _TCP_INFO.unpack(info)
    return bool(unacknowledged) and silent_ms > 1000 * longest_s


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
