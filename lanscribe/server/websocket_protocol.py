"""uvicorn's WebSocket over websockets, with the bounds it lacks: on frames, on reading, on closing.

Both parse everything they have received at once: a quarter of a megabyte may hold forty thousand
empty frames. Here a turn of the loop parses at most _FRAMES_IN_A_TURN frames, and no further
message until the application has received the last one. The application paces whole messages;
the rest is paced here.

A connection on which the server is silent gets a ping, for the proxies on its way. Nothing follows
from a pong, or from none: it may wait behind audio that flow control holds back.
"""

import asyncio
import logging
import time
from collections.abc import Generator
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import BINARY, CTRL_OPCODES, TEXT, CloseCode, Frame
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.typing import StatusLike

from lanscribe import errors
from lanscribe.errors import ProtocolError
from lanscribe.server.http_errors import error_response
from lanscribe.server.intake import REFUSALS, Intake, Lingering
from lanscribe.session.pace import MESSAGES_AT_ONCE_S, TokenBucket

log = logging.getLogger(__name__)

_FRAMES_IN_A_TURN = 16
_LITTLE_BYTES = 64
"""A smaller piece of a message carries next to nothing."""
_PRICE_OF_NOTHING = 20
"""In messages: fifty empty frames a second are allowed, and five hundred at once. A client has no
reason to ping more often than once a second."""
_NO_HANDSHAKE = "got a request that is not a WebSocket handshake; expected one by RFC 6455"
_CLOSING_BYTES = 2**16
"""The largest frame of a peer to which a close was sent."""


class _Reader(StreamReader):
    """Stops the parser when the turn is over: the parser calls `at_eof` between two frames."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        """How many frames may still be parsed in this turn."""

    def at_eof(self) -> Generator[None, None, bool]:
        while self.left <= 0:
            yield
        return (yield from super().at_eof())


class _Metered(ServerProtocol):
    """The rules of WebSocket, frame by frame; refusals have the shape of all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reader: _Reader = _Reader()
        self.parser = self.parse()
        next(self.parser)
        self.price = 0
        """The price of the frames since the pace was last asked, in messages."""

    @property
    def has_unparsed(self) -> bool:
        """Whether the turn is over and bytes are left to parse."""
        return self.reader.left <= 0 and bool(self.reader.buffer)

    def parse_on(self) -> None:
        """Parse to the end of the handshake or the next message, at most the frames of a turn."""
        self.reader.left = 0 if self.state is State.CONNECTING else _FRAMES_IN_A_TURN
        next(self.parser)

    def recv_frame(self, frame: Frame) -> None:
        """Handle a frame, and count it."""
        super().recv_frame(frame)
        self.reader.left -= 1
        self.price += _price(frame)
        if frame.fin and frame.opcode not in CTRL_OPCODES:
            self.reader.left = 0

    def reject(self, status: StatusLike, text: str) -> Response:
        """The answer to a handshake that breaks the rules, or meets a defect."""
        is_ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
        error = errors.defect() if is_ours else ProtocolError("invalid_request", text.strip())
        refusal, response = error_response(error, int(status)), super().reject(status, "")
        response.body = bytes(refusal.body)
        for name, value in refusal.headers.items():
            response.headers.pop(name, None)
            response.headers[name] = value
        return response


def _price(frame: Frame) -> int:
    """The price of a frame, in messages; 0 for a whole message, which its receiver paces."""
    is_whole = frame.fin and frame.opcode in {TEXT, BINARY}
    if frame.opcode in CTRL_OPCODES or not frame.data:
        return _PRICE_OF_NOTHING
    if is_whole:
        return 0
    return 1 if frame.fin or len(frame.data) >= _LITTLE_BYTES else _PRICE_OF_NOTHING


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket that closes in a bounded time, whatever the peer does."""

    conn: _Metered

    def __init__(self, *args: Any, intake: Intake, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = intake.limits
        self._intake = intake
        self._limits = limits
        self.conn = _Metered(max_size=limits.message_bytes, logger=self.logger)
        self.close_timeout = limits.close_timeout_s
        burst = MESSAGES_AT_ONCE_S * limits.messages_per_s
        self._pace = TokenBucket(limits.messages_per_s, burst)
        self._message = bytearray()
        self._has_asked = False
        self._unread_timer: asyncio.TimerHandle | None = None
        self._sent_s = 0.0
        """When the application sent last, or a ping was sent; of the loop's clock."""

    @property
    def is_spare(self) -> bool:
        """Whether the server has closed, so that nothing is under way."""
        return self.close_sent

    def data_received(self, data: bytes) -> None:
        """Store the data and ask for a turn to parse it."""
        self.conn.reader.feed_data(data)
        if self._has_asked:
            self._hold()
        self._ask()

    def _ask(self) -> None:
        """Ask for a turn to parse what was received, and to read on."""
        if not self._has_asked:
            self._has_asked = True
            self._intake.turns.ask(self)

    def take_turn(self) -> None:
        """Parse to the end of the next message, at most the frames of a turn."""
        self._has_asked = False
        if self.disconnected or self.transport.is_closing():
            return
        if self.transport.get_protocol() is not self:
            return
        if self._must_wait:
            self._hold()
            return
        self.conn.parse_on()
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
            return
        self.handle_events()
        if self.transport.get_protocol() is not self:
            return  # it lingers: a message was no text
        if not self.handshake_initiated:
            self._refuse_head()
        elif self.close_sent and len(self.conn.reader.buffer) > _CLOSING_BYTES:
            self._linger()
        else:
            self._go_on()

    def _refuse_head(self) -> None:
        """Refuse a head that websockets rejects, with its reason if it gives one."""
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            answer = self.conn.reject(HTTPStatus.BAD_REQUEST, _NO_HANDSHAKE).serialize()
        self.transport.write(answer)
        self.transport.close()

    @property
    def _must_wait(self) -> bool:
        """Whether to wait for an answer, a receiver or a reader before parsing on."""
        if self.handshake_initiated and self.conn.state is State.CONNECTING:
            return True
        has_message = not self.close_sent and not self.queue.empty()
        return has_message or not self.writable.is_set()

    def _go_on(self) -> None:
        """Continue to read or to parse when the pace allows it."""
        price, self.conn.price = self.conn.price, 0
        wait_s = self._pace.take(price, time.monotonic()) if price else 0.0
        if wait_s > 0:
            self._hold()
            self._has_asked = True
            self.loop.call_later(wait_s, self._intake.turns.ask, self)
        elif self._must_wait:
            if self.conn.reader.buffer:
                self._hold()
        elif self.conn.has_unparsed:
            self._hold()
            self._ask()
        else:
            self._release()

    def _release(self) -> None:
        if self.read_paused and not self.transport.is_closing():  # TLS raises once it is closed
            self.read_paused = False
            self.transport.resume_reading()

    def _hold(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        """The next ASGI message."""
        message = await self.queue.get()
        if self._has_asked or self.conn.reader.buffer or self._must_wait:
            self._ask()
        else:
            self._release()
        return message

    async def send(self, message: Any) -> None:
        """Send an ASGI message; after a close only small messages are still received."""
        await super().send(message)
        self._sent_s = self.loop.time()
        kind = message["type"]
        if kind == "websocket.close":
            self.conn.max_message_size = _CLOSING_BYTES
            self._message.clear()
        if message.get("status") in REFUSALS or message.get("code") == CloseCode.POLICY_VIOLATION:
            self._intake.refused(self.client[0] if self.client else "")
        if kind == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # refused; uvicorn would take this for a defect
        if kind != "websocket.send":
            self._ask()

    def shutdown(self) -> None:
        """Close, for the server ends. uvicorn raises where the peer has begun to close."""
        if self.handshake_complete and not self.close_sent and self.conn.state is not State.OPEN:
            self.stop_keepalive()
            self.transport.close()
        else:
            super().shutdown()

    def start_keepalive(self) -> None:
        """Begin to watch for silence, now that the handshake is done."""
        self._watch(self._limits.ping_after_s)

    def stop_keepalive(self) -> None:
        """Watch no more: the connection is lost."""
        if self.ping_timer is not None:
            self.ping_timer.cancel()

    def _watch(self, wait_s: float) -> None:
        self.ping_timer = self.loop.call_later(wait_s, self._ping_if_silent)

    def _ping_if_silent(self) -> None:
        if self.conn.state is not State.OPEN or self.transport.is_closing():
            return
        rest_s = self._sent_s + self._limits.ping_after_s - self.loop.time()
        if rest_s <= 0:
            self.conn.send_ping(b"")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self._sent_s = self.loop.time()
            rest_s = self._limits.ping_after_s
        self._watch(rest_s)

    def handle_text(self, event: Frame) -> None:
        """Begin a text message."""
        self.curr_msg_data_type = "text"
        self._take_in(event)

    def handle_bytes(self, event: Frame) -> None:
        """Begin a binary message."""
        self.curr_msg_data_type = "bytes"
        self._take_in(event)

    def handle_cont(self, event: Frame) -> None:
        """Continue a message."""
        self._take_in(event)

    def _take_in(self, event: Frame) -> None:
        """Join the pieces as they come: a million of them would take a hundred bytes each."""
        if self.close_sent:
            return
        if event.fin and not self._message:
            self._deliver(bytes(event.data))
            return
        self._message += event.data
        if event.fin:
            message, self._message = bytes(self._message), bytearray()
            self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        """Hand a message to the application; reading goes on until more comes than that.

        uvicorn pauses reading at each message: two calls of the system for each of them.
        """
        if self.curr_msg_data_type == "bytes":
            self.queue.put_nowait({"type": "websocket.receive", "bytes": message})
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self.conn.send_close(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
        else:
            self.queue.put_nowait({"type": "websocket.receive", "text": text})

    def handle_parser_exception(self) -> None:
        """Send the reason, then let the peer finish sending, so that it can read the reason."""
        assert self.conn.close_sent is not None
        close = self.conn.close_sent
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._linger()

    def _linger(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
        self.conn.reader.discard()
        Lingering(self, self.transport, self.close_timeout)

    def pause_writing(self) -> None:
        """The peer reads too slowly: stop reading from it, and drop it in the end."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The peer reads again: cancel the timer, and ask for a turn."""
        super().resume_writing()
        self._forget_reader()
        self._ask()

    def _await_reader(self) -> None:
        """Bound the wait; a session that has something to send ends first, with its own error."""
        unread_bytes = self.transport.get_write_buffer_size()
        wait_s = self._limits.send_timeout_s + self._limits.close_timeout_s
        self._unread_timer = self.loop.call_later(wait_s, self._let_go, unread_bytes)

    def _let_go(self, unread_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < unread_bytes:
            self._await_reader()
        else:
            log.info("a client read nothing of what it was sent, and is dropped")
            self.transport.abort()

    def _forget_reader(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Abort the transport after a while: a peer that does not read would keep it for ever."""
        super().on_task_complete(task)
        self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timer and the place of the connection."""
        self._forget_reader()
        self._intake.crowd.leave(self.transport)
        super().connection_lost(exc)
