"""uvicorn's HTTP over h11, with the bounds it lacks: on requests, on their pieces, on waiting.

uvicorn and h11 parse everything they have received at once: a quarter of a megabyte may hold forty
thousand chunks of one byte. Here a turn of the loop parses at most _EVENTS_IN_A_TURN events.
"""

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from lanscribe.errors import ProtocolError
from lanscribe.server.framing import (
    MAX_HEAD_BYTES,
    asks_for_websocket,
    head_fault,
    is_tls,
)
from lanscribe.server.http_errors import error_response
from lanscribe.server.intake import REFUSALS, Intake, Lingering
from lanscribe.session.pace import MESSAGES_AT_ONCE_S, TokenBucket

_EVENTS_IN_A_TURN = 8
_NO_REQUEST = (
    "got no HTTP request, or one with a head larger than 16 KiB, or one without a clear end;"
    " expected HTTP/1.1"
)


_TLS_WORDS = "this is a TLS handshake; this port takes http:// and ws:// only"


class _Metered(h11.Connection):
    """h11 with a bound on the events of a turn; it keeps the reason of a parse error."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.left = 0
        """How many events may still be parsed in this turn."""
        self.requests = 0
        self.has_refused = False
        """Whether the last answer had one of the REFUSALS as its status."""
        self.fault = ""

    @property
    def has_unparsed(self) -> bool:
        """Whether the turn is over and bytes are left to parse."""
        return self.left == 0 and bool(self.trailing_data[0])

    def next_event(self) -> Any:
        """The next event; NEED_DATA also when the turn is over."""
        if self.left == 0:
            return h11.NEED_DATA
        self.left -= 1
        try:
            if self.their_state is h11.IDLE and (fault := head_fault(self.trailing_data[0])):
                raise h11.RemoteProtocolError(fault)
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.fault = str(error)
            raise
        self.requests += isinstance(event, h11.Request)
        return event

    def send(self, event: Any) -> Any:
        """The bytes of an event that this server sends."""
        if isinstance(event, h11.Response):
            self.has_refused = event.status_code in REFUSALS
        return super().send(event)


class _Flow(FlowControl):
    """Flow control that pauses reading while uvicorn or the pace asks for it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False

    def hold(self) -> None:
        """Pause reading until `release`."""
        self._is_held = True
        self._transport.pause_reading()

    def release(self) -> None:
        """Resume reading, unless uvicorn has paused it."""
        if self._is_held:
            self._is_held = False
            if not self.read_paused:
                self._transport.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading for uvicorn, unless the pace holds it."""
        self.read_paused = False
        if not self._is_held:
            self._transport.resume_reading()


class HttpProtocol(H11Protocol):
    """HTTP with a deadline for every request and a rate of requests for every address."""

    def __init__(self, *args: Any, intake: Intake, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = self._metered = _Metered()
        self._intake = intake
        limits = intake.limits
        self._limits = limits
        burst = MESSAGES_AT_ONCE_S * limits.messages_per_s
        self._pieces = TokenBucket(limits.messages_per_s, burst)
        self._timer: asyncio.TimerHandle | None = None
        self._has_asked = False

    @property
    def is_spare(self) -> bool:
        """Whether the connection is idle: no request, or only the rest of an answered one."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.response_started and self.conn.their_state is h11.SEND_BODY

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a new connection if there is room for it, and wait for its request."""
        super().connection_made(transport)
        self.flow = self._paced_flow = _Flow(transport)
        if self._intake.admit(transport, self._address):
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Store the data and ask for a turn to parse it."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.conn.receive_data(data)
        if self._has_asked:
            self._paced_flow.hold()
        self.handle_events()

    def handle_events(self) -> None:
        """Ask for a turn to parse what was received."""
        if not self._has_asked:
            self._has_asked = True
            self._intake.turns.ask(self)

    def take_turn(self) -> None:
        """Parse the events of a turn, but no request before the rate of its address allows it."""
        self._has_asked = False
        if not self._is_mine:
            return
        now_s = time.monotonic()
        is_request_next = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        wait_s = self._intake.requests.take(self._address, 0, now_s) if is_request_next else 0.0
        if not wait_s:
            self._parse(now_s)
            if not self._is_mine:
                return
            wait_s = self._pieces.take(max(1, _EVENTS_IN_A_TURN - self._metered.left), now_s)
        self._go_on(wait_s)
        self._watch()

    def _parse(self, now_s: float) -> None:
        if self.conn.their_state is h11.IDLE and is_tls(self.conn.trailing_data[0]):
            self._metered.fault = _TLS_WORDS
            self._intake.note_tls(self._address, now_s)
            self.send_400_response(_TLS_WORDS)
            return
        self._metered.left, self._metered.requests = _EVENTS_IN_A_TURN, 0
        super().handle_events()
        if self._metered.requests:
            self._intake.requests.take(self._address, self._metered.requests, now_s)

    @property
    def _is_mine(self) -> bool:
        return not self.transport.is_closing() and self.transport.get_protocol() is self

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _go_on(self, wait_s: float) -> None:
        """Continue to read or to parse when the pace allows it."""
        if wait_s > 0:
            self._paced_flow.hold()
            self._has_asked = True
            self.loop.call_later(wait_s, self._intake.turns.ask, self)
        elif self._metered.has_unparsed:
            self._paced_flow.hold()
            self.handle_events()
        else:
            self._paced_flow.release()

    def on_response_complete(self) -> None:
        """Charge the address for a refusal, then wait for the next request."""
        if self._metered.has_refused:
            self._intake.refused(self._address)
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Bound the wait for a request, for the rest of an answered one, and for a slow reader."""
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
        """Refuse data that is not HTTP; only close if an answer is under way."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        response = error_response(
            ProtocolError("invalid_request", f"{_NO_REQUEST}: {self._metered.fault[:200]}")
        )
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._stop_watching()
        self._intake.refused(self._address)
        Lingering(self, self.transport, self._limits.close_timeout_s)

    def _get_upgrade(self) -> bytes | None:
        is_new_enough = self.scope["http_version"] != "1.0"  # RFC 9110, section 7.8
        return b"websocket" if is_new_enough and asks_for_websocket(self.headers) else None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Switch to WebSocket, and pass on the data that followed the request."""
        self._stop_watching()
        super().handle_websocket_upgrade(event)
        early, _ = self.conn.trailing_data
        self._paced_flow.release()
        protocol = self.transport.get_protocol()
        if early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timer and the place of the connection."""
        self._stop_watching()
        self._intake.crowd.leave(self.transport)
        super().connection_lost(exc)
