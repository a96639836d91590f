"""How much of what is received is parsed at a time, whoever sent it and however it is cut."""

import asyncio
import logging
import time
from asyncio.sslproto import SSLProtocol
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from lanscribe.server.crowd import LONGEST_WAIT_S, AddressPaces, Crowd
from lanscribe.session.bounds import Bounds

log = logging.getLogger(__name__)

TURN_S = 0.001
"""So long all connections together may parse before everything else has its turn."""
HANDSHAKES_REST = 3.0
"""After TLS handshakes everything else has the loop alone, for so many times as long as they took:
each is a signature, a millisecond of work that cannot be cut, and a hundred may come at once."""
REQUESTS_PER_S = 50
REQUESTS_AT_ONCE = 200
"""Of one address. A request with a connection of its own costs a millisecond; a page with all its
files, or a script that asks again and again, needs less."""
PRICE_OF_A_REFUSAL = 10
"""In requests: whoever is turned away may knock five times a second, and twenty times at once."""
REFUSALS = frozenset({401, 403, 429})
"""The HTTP statuses of who may not come in."""
_BREATH_S = 0.02
"""Between two reads of a peer to whom nothing is listened any more."""


class Parser(Protocol):
    """A connection that has something to parse."""

    transport: asyncio.Transport

    def take_turn(self) -> None:
        """Parse a little, and ask for another turn when there is more."""


class Turns:
    """Connections that have something to parse, one after the other."""

    def __init__(self, rest: float = 0.0) -> None:
        """rest: for how long they all pause after a turn, as a multiple of what that took."""
        self._rest = rest
        self._waiting: deque[Parser] = deque()
        self._is_going_on = False

    def ask(self, parser: Parser) -> None:
        """Let it have its turn soon."""
        self._waiting.append(parser)
        if not self._is_going_on:
            self._is_going_on = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        while self._waiting:
            _take_turn(self._waiting.popleft())
            if loop.time() >= begin_s + TURN_S:
                break
        self._is_going_on = bool(self._waiting)
        if self._is_going_on and self._rest:
            loop.call_later(self._rest * (loop.time() - begin_s), self._go_on)
        elif self._is_going_on:
            loop.call_soon(self._go_on)


def _take_turn(parser: Parser) -> None:
    try:
        parser.take_turn()
    except Exception:
        log.exception("a connection ended by a defect of the server")
        parser.transport.abort()


@dataclass(frozen=True)
class Intake:
    """What all HTTP and WebSocket connections of a server share."""

    limits: Bounds
    crowd: Crowd[asyncio.Transport]
    requests: AddressPaces
    turns: Turns = field(default_factory=Turns)
    handshakes: Turns = field(default_factory=lambda: Turns(HANDSHAKES_REST))

    def admit(self, transport: asyncio.Transport, address: str) -> bool:
        """Whether there is room for a new connection; whoever leaves for it, or it, is dropped."""
        leaver = self.crowd.enter(transport, address)
        if leaver is not None:
            leaver.abort()
        return leaver is not transport

    def refused(self, address: str) -> None:
        """Somebody there was turned away."""
        self.requests.take(address, PRICE_OF_A_REFUSAL, time.monotonic())


def make_intake(limits: Bounds, proxies: Iterable[str]) -> Intake:
    """For a server whose protocols have `is_spare`; the proxies pace whom they speak for."""
    requests = AddressPaces(
        REQUESTS_PER_S, REQUESTS_AT_ONCE, proxies, longest_wait_s=LONGEST_WAIT_S
    )
    return Intake(limits, Crowd(limits.connections, _is_spare), requests)


def _is_spare(transport: asyncio.Transport) -> bool:
    """Who is counted by the transport beneath TLS is still in its handshake."""
    protocol = transport.get_protocol()
    return isinstance(protocol, SSLProtocol) or bool(getattr(protocol, "is_spare", False))


class StandIn(asyncio.BaseProtocol):
    """A protocol in the place of another, which hears of the end and of room for writing."""

    before: Any

    def pause_writing(self) -> None:
        """Pass it on."""
        self.before.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self.before.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self.before.connection_lost(exc)


class Lingering(StandIn, asyncio.Protocol):
    """A connection that was told its last: what its peer still sends is dropped, for a while.

    To close at once, with something unread, resets the connection, and the peer may lose what it
    was told (RFC 9112, section 9.6).
    """

    is_spare = True

    def __init__(self, before: Any, transport: asyncio.Transport, longest_s: float) -> None:
        """before: the protocol that hears of the end, and of room for writing."""
        self.before = before
        self._transport = transport
        transport.set_protocol(self)
        asyncio.get_running_loop().call_later(longest_s, transport.abort)
        with suppress(OSError):  # the peer is gone already
            if transport.can_write_eof():  # not over TLS
                transport.write_eof()
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Drop it; read on after a breath."""
        self._transport.pause_reading()
        resume: Callable[[], None] = self._transport.resume_reading
        asyncio.get_running_loop().call_later(_BREATH_S, resume)
