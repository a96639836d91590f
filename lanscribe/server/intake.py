"""Bounds how much received data is parsed at a time, over all connections and however it is cut."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from lanscribe.server.crowd import LONGEST_WAIT_S, AddressPaces, Crowd
from lanscribe.session.bounds import Bounds
from lanscribe.session.pace import TokenBucket

log = logging.getLogger(__name__)

TURN_S = 0.001
"""How long all connections together may parse before everything else runs."""
COSTLY_REST = 3.0
"""TLS handshakes pause for this multiple of the time they took, so that everything else can run:
each is a signature, a millisecond of work that cannot be cut, and a hundred may come at once. So do
the connections whose TLS records take much more time than their bytes are worth."""
REQUESTS_PER_S = 50
REQUESTS_AT_ONCE = 200
"""Per address. A request on a connection of its own costs a millisecond; a page with all its files,
or a script that polls, needs fewer requests."""
PRICE_OF_A_REFUSAL = 10
"""In requests: a refused address may try five times a second, and twenty times at once."""
REFUSALS = frozenset({401, 403, 429})
"""The HTTP statuses of a request without access."""
TLS_NOTE_S = 60.0
"""How long after a line on TLS at the plain port no other follows."""
_BREATH_S = 0.02
"""The pause between two reads from a peer whose data is dropped."""


class Parser(Protocol):
    """A connection that has something to parse."""

    transport: asyncio.Transport

    def take_turn(self) -> None:
        """Parse a little, and ask for another turn when there is more."""


class Turns:
    """A queue of connections that have something to parse; each gets turns."""

    def __init__(self, rest: float = 0.0) -> None:
        """rest: how long all of them pause after a turn, as a multiple of its duration."""
        self._rest = rest
        self._waiting: deque[Parser] = deque()
        self._is_going_on = False

    def ask(self, parser: Parser) -> None:
        """Queue a parser for a turn."""
        self._waiting.append(parser)
        if not self._is_going_on:
            self._is_going_on = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._waiting:
            self._is_going_on = False
            return
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        while self._waiting:
            _take_turn(self._waiting.popleft())
            if loop.time() >= begin_s + TURN_S:
                break
        self._is_going_on = bool(self._waiting or self._rest)
        if self._rest:
            loop.call_later(self._rest * (loop.time() - begin_s), self._go_on)
        elif self._waiting:
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
    handshakes: Turns = field(default_factory=lambda: Turns(COSTLY_REST))
    slow_lane: Turns = field(default_factory=lambda: Turns(COSTLY_REST))
    tls_notes: TokenBucket = field(default_factory=lambda: TokenBucket(1 / TLS_NOTE_S, burst=0))

    def admit(self, transport: asyncio.Transport, address: str) -> bool:
        """Count a new connection; False if it was dropped for lack of room. May drop another."""
        leaver = self.crowd.enter(transport, address)
        if leaver is not None:
            leaver.abort()
        return leaver is not transport

    def note_tls(self, address: str, now_s: float) -> None:
        """Log that a client speaks TLS to the plain port, at most once a minute."""
        if not self.tls_notes.take(0, now_s):
            self.tls_notes.take(1, now_s)
            log.warning(
                "%.200s speaks TLS (https:// or wss://) to the port for http:// and ws://; use"
                " those there, or the port of tls.port if there is a certificate",
                address,
            )

    def refused(self, address: str) -> None:
        """Charge an address for a refused request."""
        self.requests.take(address, PRICE_OF_A_REFUSAL, time.monotonic())


def make_intake(limits: Bounds, proxies: Iterable[str]) -> Intake:
    """For a server whose protocols have `is_spare`; the proxies are not paced."""
    requests = AddressPaces(
        REQUESTS_PER_S, REQUESTS_AT_ONCE, proxies, longest_wait_s=LONGEST_WAIT_S
    )
    return Intake(limits, Crowd(limits.connections, _is_spare), requests)


def _is_spare(transport: asyncio.Transport) -> bool:
    """Whether a connection is idle; a transport below TLS is still in its handshake."""
    return bool(getattr(transport.get_protocol(), "is_spare", False))


class StandIn(asyncio.BaseProtocol):
    """A protocol in the place of another, to which it passes some calls on."""

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
    """A connection after its last answer: what the peer still sends is dropped, for a while.

    Closing at once, with data unread, resets the connection, and the peer may lose the answer
    (RFC 9112, section 9.6).
    """

    is_spare = True

    def __init__(self, before: Any, transport: asyncio.Transport, longest_s: float) -> None:
        """before: the protocol that is replaced, and still told of the end and of room to write."""
        self.before = before
        self._transport = transport
        transport.set_protocol(self)
        asyncio.get_running_loop().call_later(longest_s, transport.abort)
        with suppress(OSError):  # the peer is gone already
            if transport.can_write_eof():  # not over TLS
                transport.write_eof()
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Drop the data; resume reading after a pause."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_BREATH_S, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():  # TLS raises once it is closed
            self._transport.resume_reading()
