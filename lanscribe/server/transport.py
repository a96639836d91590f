"""uvicorn, with the bounds it lacks: on TLS handshakes, on connections, on its shutdown.

http_protocol.py and websocket_protocol.py hold its two protocols and their bounds.
"""

import asyncio
import logging
import socket
import ssl
import struct
import sys
import time
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.utils import get_remote_addr

from lanscribe.config import LimitSettings
from lanscribe.server.http_protocol import HttpProtocol
from lanscribe.server.intake import Intake, make_intake
from lanscribe.server.tls_turns import shake_hands
from lanscribe.server.websocket_protocol import WebSocketProtocol
from lanscribe.session.bounds import Bounds
from lanscribe.tasks import first_of

log = logging.getLogger(__name__)

_GRACEFUL_SHUTDOWN_S = 1
_UNREAD_BYTES = 2**17
"""What the system buffers for a client that does not read; half an hour of text fits in it."""
ACCEPTED_IN_A_TURN = 8
"""In connections; asyncio would accept all that wait before it does anything else."""
_WAITING_CONNECTIONS = 128
"""How many connections the system queues until they are accepted."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Detects after a minute that a peer has vanished while nothing was being sent to it; the second
option is macOS's name for the first. A missing pong would not show it: a pong waits behind the
audio that flow control holds back, and a slowed sender would look dead."""
_TCP_INFO = struct.Struct("=24x I 28x I")
"""Two fields of Linux's struct tcp_info: tcpi_unacked in packets, tcpi_last_ack_recv in ms ago."""
_TICKS_PER_S = 10


@dataclass(frozen=True, slots=True)
class SecureListener:
    """The socket to serve over TLS, and the certificate for it."""

    socket: socket.socket
    context: Callable[[], ssl.SSLContext | None]
    """Asked for each new connection; None, which closes it, while there is no certificate."""

    @property
    def port(self) -> int:
        """The port where it listens."""
        return int(self.socket.getsockname()[1])


class _TlsHandshake(asyncio.Protocol):
    """A connection until its TLS handshake is done: counted and bounded like any other.

    asyncio's own TLS listener does not report a connection before that.
    """

    is_spare = True

    def __init__(
        self,
        find_context: Callable[[], ssl.SSLContext | None],
        intake: Intake,
        http: HttpProtocol,
        tasks: set[Any],
    ) -> None:
        self._find_context = find_context
        self._intake = intake
        self._http = http
        self._tasks = tasks
        self._early_data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        peer = get_remote_addr(transport)
        address = peer[0] if peer else ""
        self._http.connections.add(self)  # type: ignore[arg-type]
        transport.pause_reading()
        if not self._intake.admit(transport, address):
            return
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Keep data that arrives with the end of the handshake, before HTTP takes over."""
        self._early_data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._http.connections.discard(self)
        assert self._transport is not None
        self._intake.crowd.leave(self._transport)

    def shutdown(self) -> None:
        """Abort the connection; uvicorn calls this on each of its connections."""
        assert self._transport is not None
        self._transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport, address: str) -> None:
        await asyncio.sleep(self._intake.requests.take(address, 1, time.monotonic()))
        if transport.is_closing():
            return  # dropped meanwhile; the handshake would wait for ever
        context = self._find_context()
        if context is None:
            transport.abort()
            return
        try:
            secured = await shake_hands(transport, self, context, self._intake)
        except OSError as error:
            log.debug("a TLS handshake failed: %s", error)
            secured = None
        finally:
            self._leave()
        if secured is not None and not transport.is_closing():  # `secured` never says so
            secured.set_protocol(self._http)
            self._http.connection_made(secured)
            if self._early_data:
                self._http.data_received(self._early_data)


class Server(uvicorn.Server):
    """uvicorn's server with a drain before its shutdown, and signals left to the program."""

    def __init__(
        self,
        config: uvicorn.Config,
        intake: Intake,
        drain: Callable[[], Coroutine[Any, Any, None]],
        tls: SecureListener | None,
    ) -> None:
        super().__init__(config)
        self._intake = intake
        self._drain = drain
        self._tls = tls
        self._is_in_a_hurry = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on `sockets`, and over TLS if it is set up."""
        await super().startup(sockets)
        if self._tls:
            server = await asyncio.get_running_loop().create_server(
                self._secure_protocol, sock=self._tls.socket, backlog=ACCEPTED_IN_A_TURN
            )
            self.servers.append(server)
        for listener in [*(sockets or ()), *([self._tls.socket] if self._tls else ())]:
            let_more_wait(listener)

    def _secure_protocol(self) -> _TlsHandshake:
        assert self._tls is not None
        http = HttpProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            intake=self._intake,
        )
        return _TlsHandshake(self._tls.context, self._intake, http, self.server_state.tasks)

    async def on_tick(self, counter: int) -> bool:
        """Drop vanished clients once a second; return whether to stop."""
        if counter % _TICKS_PER_S == 0:
            self._drop_who_vanished()
        return await super().on_tick(counter)

    def _drop_who_vanished(self) -> None:
        for connection in list(self.server_state.connections):
            try:
                self._drop_if_vanished(getattr(connection, "transport", None))
            except Exception:  # what is wrong with one connection is no matter of the others
                log.exception("a connection was left alone by a defect of the server")

    def _drop_if_vanished(self, transport: Any) -> None:
        if transport is None or transport.is_closing():  # of TLS, it knows its socket no more
            return
        peer = transport.get_extra_info("socket")
        if peer is None or peer.fileno() < 0:
            return
        if has_vanished(peer, self._intake.limits.vanished_s):
            log.info("a client has vanished: it no longer acknowledges anything")
            transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, let running sessions end, then close what is left."""
        for server in self.servers:
            server.close()
        await first_of(self._drain(), self._until_in_a_hurry())
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            if transport:
                transport.abort()  # a peer that keeps silent would hold TLS open for longer

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
    *,
    proxies: Iterable[str] = (),
) -> Server:
    """A server for `app`, to be run on sockets of `bind`, and over TLS on that of `tls`.

    proxies: addresses whose requests are not paced, because they forward for many clients.
    """
    intake = make_intake(Bounds.of(limits), proxies)
    config = uvicorn.Config(
        app,
        http=partial(HttpProtocol, intake=intake),  # type: ignore[arg-type]
        ws=partial(WebSocketProtocol, intake=intake),  # type: ignore[arg-type]
        backlog=ACCEPTED_IN_A_TURN,
        ws_max_size=limits.message_bytes,
        ws_ping_interval=None,  # it would close without a pong; WebSocketProtocol pings by itself
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # it trusts any proxy on this machine; auth.proxies says whom to trust
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_S,
    )
    return Server(config, intake, drain, tls)


def has_vanished(peer: TransportSocket, longest_s: float) -> bool:
    """Whether a peer owes an acknowledgement and has sent none for more than `longest_s`.

    TCP itself tries for a quarter of an hour. Its TCP_USER_TIMEOUT would also drop clients that
    merely pause reading. Only Linux reports this; on other systems the answer is False.
    """
    if sys.platform != "linux":
        return False
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    unacknowledged, silent_ms = _TCP_INFO.unpack(info)
    return bool(unacknowledged) and silent_ms > 1000 * longest_s


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises OSError if the address is taken or not this machine's."""
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


def let_more_wait(listener: socket.socket) -> None:
    """Let the system queue more connections than a turn accepts; called after serving began."""
    listener.listen(_WAITING_CONNECTIONS)
