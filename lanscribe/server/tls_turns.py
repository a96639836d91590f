"""TLS whose input is worked in turns, like all other input; asyncio works a whole read at once.

A read may hold ten thousand records of one byte, or as many requests for new keys, each of which
takes a tenth of a millisecond.
"""

import asyncio
import ssl
import time
from asyncio.sslproto import SSLProtocol

from lanscribe.server.intake import Intake
from lanscribe.server.tls_records import Records
from lanscribe.session.pace import TokenBucket

_BUFFER_BYTES = 2**16
"""One read; each connection has such a buffer. With 16 KiB an upload is four times slower."""
RECORDS_IN_A_TURN = 16
_FAIR_S_PER_BYTE = 5e-9
_EXCESS_S_PER_S = 0.003
_EXCESS_AT_ONCE_S = 0.01
"""The processor time beyond the fair price of the bytes; who takes more goes to the slow lane."""
_LONGEST_DEBT_S = 5.0


class TlsInTurns(SSLProtocol):
    """asyncio's TLS, where the received bytes wait for turns, and while nobody wants them."""

    max_size = _BUFFER_BYTES
    is_spare = True
    transport: asyncio.Transport
    _app_reading_paused: bool
    _ssl_writing_paused: bool

    def __init__(
        self,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        intake: Intake,
        shaken: asyncio.Future[None],
    ) -> None:
        """protocol: gets the data, but no connection_made; shaken: done after the handshake."""
        super().__init__(
            asyncio.get_running_loop(),
            protocol,
            context,
            shaken,
            server_side=True,
            call_connection_made=False,
            ssl_handshake_timeout=intake.limits.handshake_timeout_s,  # type: ignore[arg-type]
            ssl_shutdown_timeout=intake.limits.close_timeout_s,
        )
        self._intake = intake
        self._shaken = shaken
        self._records = Records()
        self._excess = TokenBucket(
            _EXCESS_S_PER_S, _EXCESS_AT_ONCE_S, longest_wait_s=_LONGEST_DEBT_S
        )
        self._lane = intake.handshakes
        self._waiting_bytes = 0
        self._has_asked = False
        self._is_ending = False

    @property
    def secured(self) -> asyncio.Transport:
        """The transport for the protocol above."""
        transport: asyncio.Transport = self._app_transport
        return transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the handshake."""
        self.transport = transport
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Note how many bytes have arrived, and read no more until they are worked."""
        self.transport.pause_reading()
        self._waiting_bytes = nbytes
        self._ask()

    def take_turn(self) -> None:
        """Work a few records."""
        self._has_asked = False
        if self.transport.is_closing() or self._must_wait:
            return
        waiting = self.get_buffer(-1)[: self._waiting_bytes]
        count = self._records.advance(waiting, RECORDS_IN_A_TURN)
        self._waiting_bytes -= count
        if not self._waiting_bytes:
            self.transport.resume_reading()
        begin_s = time.thread_time()
        super().buffer_updated(count)
        self._choose_lane(time.thread_time() - begin_s - count * _FAIR_S_PER_BYTE)
        waiting[: self._waiting_bytes] = waiting[count:]
        self._ask()

    def _choose_lane(self, excess_s: float) -> None:
        if not self._shaken.done():
            return
        is_costly = self._excess.take(max(0.0, excess_s), time.monotonic()) > 0
        self._lane = self._intake.slow_lane if is_costly else self._intake.turns

    @property
    def _must_wait(self) -> bool:
        """Whether the protocol above pauses, or the peer does not read what it has caused."""
        return self._ssl_writing_paused or (self._app_reading_paused and not self._is_ending)

    def _ask(self) -> None:
        if self._waiting_bytes and not self._has_asked and not self._must_wait:
            self._has_asked = True
            self._lane.ask(self)

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self._ask()

    def _resume_reading(self) -> None:
        super()._resume_reading()  # type: ignore[misc]
        self._ask()

    def _start_shutdown(self) -> None:
        super()._start_shutdown()
        self._is_ending = True
        self._ask()


async def shake_hands(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    intake: Intake,
) -> asyncio.Transport:
    """Begin TLS on a transport whose reading is paused; return the transport above TLS.

    Like the event loop's start_tls. Raises OSError if the handshake fails.
    """
    loop = asyncio.get_running_loop()
    shaken: asyncio.Future[None] = loop.create_future()
    tls = TlsInTurns(protocol, context, intake, shaken)
    secured = tls.secured  # TLS forgets it when the connection is lost
    transport.set_protocol(tls)
    tls.connection_made(transport)
    transport.resume_reading()
    try:
        await shaken
    except BaseException:
        transport.close()
        raise
    return secured
