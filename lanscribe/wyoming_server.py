"""Wyoming over TCP, which is how Home Assistant reaches this server.

A connection begins in the lobby, where questions are answered without the engine; with the
first event of an utterance it becomes a session like any other.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from lanscribe.config import LimitSettings, Settings
from lanscribe.connection import refuse
from lanscribe.dialects.wyoming import HANG_UP, EventSplitter, WyomingDialect, type_of
from lanscribe.errors import AuthError, LanscribeError, LimitError, ProtocolError
from lanscribe.events import Failure, Message, Reply
from lanscribe.limits import Pace, check_peer_is_home, has_more_than_its_share
from lanscribe.server import Gateway
from lanscribe.tasks import end
from lanscribe.transport import bind

log = logging.getLogger(__name__)

_READ_BYTES = 2**16
_NEEDS_ENGINE = frozenset({"transcribe", "audio-start", "audio-chunk", "audio-stop"})


class WyomingChannel:
    """A TCP connection as a `Channel` of whole events."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: LimitSettings
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._close_timeout_s = limits.close_timeout_s
        self._splitter = EventSplitter(limits.message_bytes)
        self._next: Message | None = None

    async def peek(self) -> Message | None:
        """The event that `receive` will return; see there."""
        while self._next is None:
            self._next = self._splitter.take()
            if self._next is None and not await self._read_on():
                return None
        return self._next

    async def receive(self) -> Message | None:
        """The next event; None when the peer has closed.

        Raises ProtocolError when what comes is no Wyoming, ConnectionError when the peer is gone.
        """
        message = await self.peek()
        self._next = None
        return message

    async def send(self, message: Message) -> None:
        """Send an event, or close for HANG_UP. Raises ConnectionError when the peer is gone."""
        if message == HANG_UP:
            await self.close(1000, "")
            raise ConnectionError("closed after an error")
        with _broken():
            self._writer.write(message.encode() if isinstance(message, str) else message)
            await self._writer.drain()

    async def close(self, code: int, reason: str) -> None:
        """Close once everything is sent; TCP has no place for the code and the reason."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._close_timeout_s):
                await self._writer.wait_closed()
        except OSError as error:
            self._writer.transport.abort()
            raise ConnectionError("the peer did not take everything") from error

    async def _read_on(self) -> bool:
        """Wait for more of the stream; False at its end."""
        with _broken():
            data = await self._reader.read(_READ_BYTES)
        if not data and not self._splitter.is_between_events:
            raise ConnectionError("the connection broke in the middle of an event")
        self._splitter.feed(data)
        return bool(data)


class WyomingServer:
    """Everybody who is connected to the Wyoming port."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._limits = settings.limits
        self._auth_mode = settings.auth.mode
        self._connections: dict[asyncio.Task[None], str] = {}
        self._lobby: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection; one too many, in all or of its address, is dropped."""
        peer = str((writer.get_extra_info("peername") or ("unknown",))[0])
        peers, most = [*self._connections.values(), peer], self._limits.connections
        if len(peers) > most or has_more_than_its_share(peer, peers, most):
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer, peer))
        self._connections[task] = peer
        self._lobby.add(task)
        task.add_done_callback(self._connections.pop)
        task.add_done_callback(self._lobby.discard)

    async def close(self) -> None:
        """Drop those who only ask; let the others, whose sessions are over, hear of it."""
        for task in self._lobby:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._limits.close_timeout_s)
        if self._connections:
            await end(*self._connections)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> None:
        channel = WyomingChannel(reader, writer, self._limits)
        try:
            check_peer(peer, self._auth_mode)
            if await self._answer_questions(channel):
                self._lobby.discard(_this_task())
                dialect = WyomingDialect(self._gateway.info)
                await self._gateway.converse(channel, dialect, peer)
        except LanscribeError as error:
            log.log(_level(error), "%s closed: %s", peer, error)
            await refuse(channel, WyomingDialect(), error, self._limits)
        except (ConnectionError, TimeoutError) as error:
            log.debug("gone: %s", error)
        except Exception:
            log.exception("a connection ended by a defect of the server")
        finally:
            writer.transport.abort()

    async def _answer_questions(self, channel: WyomingChannel) -> bool:
        """Serve a client until it wants a transcript; False when it leaves without.

        Raises LimitError when it is silent for too long, ConnectionError when it is gone.
        """
        limits = self._limits
        pace = Pace(limits.messages_per_s, limits.bytes_per_s, limits.message_bytes)
        timeout_s = limits.handshake_timeout_s
        while (message := await _in_time(channel, timeout_s)) is not None:
            if type_of(message) in _NEEDS_ENGINE:
                return True
            await channel.receive()
            async with asyncio.timeout(limits.send_timeout_s):
                await self._answer(channel, message)
            await asyncio.sleep(pace.wait_s(len(message), time.monotonic()))
            timeout_s = limits.idle_timeout_s
        return False

    async def _answer(self, channel: WyomingChannel, message: Message) -> None:
        dialect = WyomingDialect(self._gateway.info)
        try:
            events = dialect.decode(message)
        except ProtocolError as error:
            if error.close_code is not None:
                raise
            for part in dialect.encode(Failure(error)):
                await channel.send(part)
            return
        for event in events:
            assert isinstance(event, Reply)
            for part in event.messages:
                await channel.send(part)


def check_peer(peer: str, auth_mode: str) -> None:
    """Admit whom auth.mode admits, where nobody can show a key.

    Raises AuthError for anybody else.
    """
    if auth_mode == "open" or _is_loopback(peer):
        return
    who = "this machine"
    if auth_mode == "lan":
        who = "the home network"
        with suppress(AuthError):
            check_peer_is_home(peer)
            return
    raise AuthError(
        "not_allowed",
        f"got the peer {peer[:200]!r}; Wyoming has no keys, so it serves {who} only while auth.mode"
        f" is {auth_mode}",
    )


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@asynccontextmanager
async def serving(gateway: Gateway, settings: Settings) -> AsyncIterator[int | None]:
    """Serve Wyoming as long as this lasts; its port, None when there is none.

    A port that is taken, as by another Wyoming server on this machine, is one warning: the
    rest of lanscribe is served without it.
    """
    listener = _bind(settings) if settings.wyoming.enabled else None
    if listener is None:
        yield None
        return
    server = WyomingServer(gateway, settings)
    async with await asyncio.start_server(server.accept, sock=listener, limit=_READ_BYTES) as tcp:
        try:
            yield int(listener.getsockname()[1])
        finally:
            tcp.close()
            await server.close()


def _bind(settings: Settings) -> socket.socket | None:
    host, port = settings.server.host, settings.wyoming.port
    try:
        return bind(host, port)
    except OSError as error:
        log.warning(
            "Home Assistant cannot reach lanscribe: port %d of %s: %s; end what runs there, choose"
            " another port with wyoming.port in config/local.toml, or set wyoming.enabled = false",
            port,
            host,
            error.strerror,
        )
        return None


async def _in_time(channel: WyomingChannel, timeout_s: float) -> Message | None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            return await channel.peek()
    raise LimitError(
        "idle_timeout", f"no whole event came for {timeout_s:g} s; connect again when there is one"
    )


@contextmanager
def _broken() -> Iterator[None]:
    """Every way in which the system says that a connection is no more, as ConnectionError."""
    try:
        yield
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _level(error: LanscribeError) -> int:
    return logging.WARNING if isinstance(error, AuthError) else logging.INFO


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
