"""Serves Wyoming over TCP, the protocol of Home Assistant.

A connection begins in the lobby, where questions are answered without the engine. With the first
event of an utterance it becomes a session like any other.
"""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from lanscribe.config import Settings
from lanscribe.dialects.events import Failure, Message, Reply
from lanscribe.dialects.wyoming import HANG_UP, EventSplitter, WyomingDialect, type_of
from lanscribe.dialects.wyoming_options import WyomingOptions
from lanscribe.errors import AuthError, LanscribeError, LimitError, ProtocolError
from lanscribe.server.access import check_peer_is_home, is_loopback
from lanscribe.server.crowd import LONGEST_WAIT_S, AddressPaces, Crowd
from lanscribe.server.gateway import Gateway
from lanscribe.server.transport import ACCEPTED_IN_A_TURN, bind, let_more_wait
from lanscribe.session.bounds import Bounds
from lanscribe.session.channel import refuse
from lanscribe.tasks import end

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_READ_BYTES = 2**16
_LOBBY_BYTES = 2**14
"""The largest event in the lobby, and the most that is read at a time there. Clients only ask
questions there, and the events that begin an utterance have a few hundred bytes."""
_QUESTIONS_PER_S = 20
_QUESTIONS_AT_ONCE = 100
"""Per address, over all its connections. An answer costs a tenth of a millisecond."""
_PRICE_OF_A_REFUSAL = 5
"""In questions; an address that has a session and sends nonsense has only lost a few."""
_NEEDS_ENGINE = frozenset({"transcribe", "audio-start", "audio-chunk", "audio-stop"})


class WyomingChannel:
    """A TCP connection as a `Channel` of whole events, at first only small ones."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Bounds
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._splitter = EventSplitter(_LOBBY_BYTES)
        self._read_bytes = _LOBBY_BYTES
        self._next: Message | None = None

    def allow_large_events(self) -> None:
        """Accept events as large as a session may send."""
        self._splitter.max_bytes = self._limits.message_bytes
        self._read_bytes = _READ_BYTES

    async def has_begun(self) -> bool:
        """Wait for the first byte of the next event; False when the peer has closed."""
        return not self._splitter.is_between_events or await self._read_on()

    async def peek(self) -> Message | None:
        """The event that `receive` will return; see there."""
        while self._next is None:
            self._next = self._splitter.take()
            if self._next is None and not await self._read_on():
                return None
        return self._next

    async def receive(self) -> Message | None:
        """The next event; None when the peer has closed.

        Raises ProtocolError for data that is not Wyoming, ConnectionError when the peer is gone.
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
        """Close when everything is sent; TCP has no place for the code and the reason.

        Raises ConnectionError when the peer does not take everything in time.
        """
        self._writer.close()
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._writer.wait_closed()
        except OSError as error:
            self._writer.transport.abort()
            raise ConnectionError("the peer did not take everything") from error

    async def _read_on(self) -> bool:
        """Wait for more of the stream; False at its end."""
        with _broken():
            data = await self._reader.read(self._read_bytes)
        if not data and not self._splitter.is_between_events:
            raise ConnectionError("the connection broke in the middle of an event")
        self._splitter.feed(data)
        return bool(data)


class WyomingServer:
    """All connections of the Wyoming port."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._limits = Bounds.of(settings.limits)
        self._auth_mode = settings.auth.mode
        wyoming = settings.wyoming
        self._options = WyomingOptions(wyoming.end_silence_s, is_plain=wyoming.style == "plain")
        self._connections: dict[asyncio.Task[None], asyncio.WriteTransport] = {}
        self._lobby: set[asyncio.Task[None]] = set()
        self._crowd = Crowd[asyncio.Task[None]](self._limits.connections, self._lobby.__contains__)
        self._questions = AddressPaces(
            _QUESTIONS_PER_S, _QUESTIONS_AT_ONCE, longest_wait_s=LONGEST_WAIT_S
        )

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection, if there is room; one in the lobby may be dropped for it."""
        peer = str((writer.get_extra_info("peername") or ("unknown",))[0])
        task = asyncio.create_task(self._serve(reader, writer, peer))
        self._connections[task] = writer.transport
        self._lobby.add(task)
        task.add_done_callback(self._forget)
        leaver = self._crowd.enter(task, peer)
        if leaver is not None:
            self._connections[leaver].abort()
            leaver.cancel()

    def _dialect(self) -> WyomingDialect:
        return WyomingDialect(self._gateway.info, self._options)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._crowd.leave(task)
        self._lobby.discard(task)
        del self._connections[task]

    async def close(self) -> None:
        """Drop the connections in the lobby; let the others, whose sessions have ended, tell it."""
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
            local = str((writer.get_extra_info("sockname") or ("",))[0])
            check_peer(peer, self._auth_mode, partial(self._gateway.home.check_peer, local=local))
            if await self._answer_questions(channel, peer):
                self._lobby.discard(_this_task())
                channel.allow_large_events()
                dialect = self._dialect()
                await self._gateway.converse(channel, dialect, peer)
        except LanscribeError as error:
            log.log(_level(error), "%s closed: %s", peer, error)
            wait_s = self._questions.take(peer, _PRICE_OF_A_REFUSAL, time.monotonic())
            await asyncio.sleep(wait_s)
            await refuse(channel, WyomingDialect(), error, self._limits)
        except (ConnectionError, TimeoutError) as error:
            log.debug("gone: %s", error)
        except Exception:
            log.exception("a connection ended by a defect of the server")
        finally:
            writer.transport.abort()

    async def _answer_questions(self, channel: WyomingChannel, peer: str) -> bool:
        """Answer a client until it wants a transcript; False when it leaves before.

        Raises LimitError when it is silent for too long, ConnectionError when it is gone.
        """
        limits = self._limits
        timeout_s = limits.handshake_timeout_s
        while (message := await self._question(channel, timeout_s)) is not None:
            if type_of(message) in _NEEDS_ENGINE:
                return True
            await channel.receive()
            await asyncio.sleep(self._questions.take(peer, 1, time.monotonic()))
            async with asyncio.timeout(limits.send_timeout_s):
                await self._answer(channel, message)
            timeout_s = limits.idle_timeout_s
        return False

    async def _question(self, channel: WyomingChannel, timeout_s: float) -> Message | None:
        """The next event: its first byte within timeout_s, the rest within handshake_timeout_s."""
        await _in_time(channel.has_begun(), timeout_s)
        return await _in_time(channel.peek(), self._limits.handshake_timeout_s)

    async def _answer(self, channel: WyomingChannel, message: Message) -> None:
        dialect = self._dialect()
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


def check_peer(
    peer: str, auth_mode: str, check_is_home: Callable[[str], None] = check_peer_is_home
) -> None:
    """Admit a peer by auth.mode and its address, because Wyoming has no keys.

    check_is_home: raises AuthError for a peer outside the home network. Raises AuthError for a
    peer that is not admitted.
    """
    if auth_mode == "open" or is_loopback(peer):
        return
    who = "this machine"
    if auth_mode == "lan":
        who = "the home network"
        with suppress(AuthError):
            check_is_home(peer)
            return
    raise AuthError(
        "not_allowed",
        f"got the peer {peer[:200]!r}; Wyoming has no keys, so it serves {who} only while auth.mode"
        f" is {auth_mode}",
    )


@asynccontextmanager
async def serving(gateway: Gateway, settings: Settings) -> AsyncIterator[int | None]:
    """Serve Wyoming as long as the context lasts; its port, None if off or taken.

    If the port is taken, for example by another Wyoming server on this machine, a warning says so
    and the rest of lanscribe runs without it.
    """
    listener = _bind(settings) if settings.wyoming.enabled else None
    if listener is None:
        yield None
        return
    server = WyomingServer(gateway, settings)
    async with await asyncio.start_server(
        server.accept, sock=listener, limit=_LOBBY_BYTES, backlog=ACCEPTED_IN_A_TURN
    ) as tcp:
        let_more_wait(listener)
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


async def _in_time(waiting: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            return await waiting
    raise LimitError(
        "idle_timeout", f"no whole event arrived for {timeout_s:g} s; connect again to send one"
    )


@contextmanager
def _broken() -> Iterator[None]:
    """Raise every OSError of a broken connection as ConnectionError."""
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
