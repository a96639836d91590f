"""Input over TLS is worked a few records at a time, however many arrive at once."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lanscribe.config import LimitSettings
from lanscribe.server import intake as intake_module
from lanscribe.server import tls_turns
from lanscribe.server.http_protocol import HttpProtocol
from lanscribe.server.intake import Turns
from lanscribe.server.tls_turns import RECORDS_IN_A_TURN
from lanscribe.server.transport import SecureListener, Server, bind, make_server
from tests.server.test_tls import _no_drain, make_certificate, own_context, until
from tests.support import DEADLINE_S

RECORDS = 1000
HEAD = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {RECORDS}\r\n\r\n".encode()
Hold = Callable[[Any], Callable[[], None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "-nodes")


async def echo_length(_scope: object, receive: Any, send: Any) -> None:
    """An application that answers with the length of the body."""
    length, is_more = 0, True
    while is_more:
        message = await receive()
        length += len(message["body"])
        is_more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"length %d!" % length})


@asynccontextmanager
async def serving(certificate: tuple[Path, Path]) -> AsyncIterator[tuple[Server, Any]]:
    """A server, and where it listens over TLS."""
    listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]
    context = own_context(certificate)
    tls = SecureListener(listeners[1], lambda: context)
    server = make_server(echo_length, LimitSettings(), _no_drain, tls)
    task = asyncio.create_task(server.serve([listeners[0]]))
    await until(lambda: server.started)
    yield server, listeners[1].getsockname()
    server.stop(at_once=True)
    await task


class Peer:
    """A client that decides what its records are."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cafile=str(certificate[0]))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    async def connect(self, at: Any) -> None:
        """Connect, and shake hands."""
        self._reader, self.writer = await asyncio.open_connection(*at)
        await self._until_done(self.tls.do_handshake)

    def send_records(self, head: bytes, body: bytes) -> None:
        """Send `head` in one record, and each byte of the body in another."""
        self.tls.write(head)
        for byte in body:
            self.tls.write(bytes([byte]))
        self.writer.write(self._outgoing.read())

    async def answer(self) -> bytes:
        """What arrives, up to an exclamation mark."""
        answer = b""
        async with asyncio.timeout(DEADLINE_S):
            while b"!" not in answer:
                part = await self._until_done(lambda: self.tls.read(2**16))
                assert part, answer
                answer += part
        return answer

    async def _until_done(self, act: Callable[[], bytes | None]) -> bytes | None:
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                self.writer.write(self._outgoing.read())
                self._incoming.write(await self._reader.read(2**16))
            else:
                self.writer.write(self._outgoing.read())
                return done


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes HTTP got in each turn of the event loop; the last is the current one."""
    turns = [0]
    receive = HttpProtocol.data_received

    def count(self: HttpProtocol, data: bytes) -> None:
        turns[-1] += len(data) if not data.startswith(b"POST") else 0
        receive(self, data)

    monkeypatch.setattr(HttpProtocol, "data_received", count)
    return turns


async def count_turns(turns: list[int]) -> None:
    while True:
        await asyncio.sleep(0)
        turns.append(0)


def test_a_turn_of_the_loop_works_a_few_records_of_all_connections_together(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, worked: list[int]
) -> None:
    monkeypatch.setattr(intake_module, "TURN_S", 0.0)  # so that none is fast enough for two
    peers = [Peer(certificate) for _ in range(5)]

    async def flood() -> None:
        async with serving(certificate) as (_, at):
            await asyncio.gather(*(peer.connect(at) for peer in peers))
            counting = asyncio.create_task(count_turns(worked))
            for peer in peers:
                peer.send_records(HEAD, b"x" * RECORDS)
            for peer in peers:
                assert b"length %d!" % RECORDS in await peer.answer()
                peer.writer.transport.abort()
            counting.cancel()

    asyncio.run(flood())
    assert sum(worked) >= len(peers) * (RECORDS - RECORDS_IN_A_TURN)
    # those that asked in the fast lane, and those in the slow one
    assert max(worked) <= 2 * RECORDS_IN_A_TURN


def pause_reading(tls: Any) -> Callable[[], None]:
    """As the protocol above does while it has enough."""
    tls.secured.pause_reading()
    return tls.secured.resume_reading  # type: ignore[no-any-return]


def pause_writing(tls: Any) -> Callable[[], None]:
    """As the transport below does while the peer does not read."""
    tls.pause_writing()
    return tls.resume_writing  # type: ignore[no-any-return]


@pytest.mark.parametrize("hold", [pause_reading, pause_writing])
def test_nothing_is_worked_while_it_is_not_wanted(
    certificate: tuple[Path, Path], worked: list[int], hold: Hold
) -> None:
    """Else it would be worked at once afterwards, or cause answers that nobody reads."""

    async def flood() -> None:
        async with serving(certificate) as (server, at):
            peer = Peer(certificate)
            await peer.connect(at)
            await until(lambda: any(isinstance(c, HttpProtocol) for c in connections(server)))
            (http,) = connections(server)
            tls = http.transport._ssl_protocol
            resume = hold(tls)
            peer.send_records(HEAD, b"x" * RECORDS)
            await until(lambda: tls._waiting_bytes > 0)
            for _ in range(20):
                await asyncio.sleep(0)
            assert (sum(worked), tls._incoming.pending) == (0, 0)
            counting = asyncio.create_task(count_turns(worked))
            resume()
            assert b"length %d!" % RECORDS in await peer.answer()
            counting.cancel()
            peer.writer.transport.abort()

    asyncio.run(flood())


def connections(server: Server) -> list[Any]:
    return list(server.server_state.connections)


def test_what_waits_does_not_keep_a_connection_from_its_end(
    certificate: tuple[Path, Path],
) -> None:
    async def close() -> None:
        async with serving(certificate) as (server, at):
            peer = Peer(certificate)
            await peer.connect(at)
            await until(lambda: any(isinstance(c, HttpProtocol) for c in connections(server)))
            (http,) = connections(server)
            transport, tls = http.transport, http.transport._ssl_protocol
            tls._ssl_shutdown_timeout = 10 * DEADLINE_S
            transport.pause_reading()
            peer.send_records(HEAD, b"x" * RECORDS)
            await until(lambda: tls._waiting_bytes > 0)
            transport.close()
            await until(lambda: not connections(server))
            peer.writer.transport.abort()

    asyncio.run(close())


@pytest.mark.parametrize(("price_s", "is_slow"), [(1.0, False), (-1.0, True)])
def test_records_that_cost_more_than_their_bytes_take_the_slow_lane(
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    price_s: float,
    is_slow: bool,
) -> None:
    monkeypatch.setattr(tls_turns, "_FAIR_S_PER_BYTE", price_s)
    asked: list[object] = []

    async def ask() -> None:
        async with serving(certificate) as (server, at):
            slow_lane = server._intake.slow_lane
            monkeypatch.setattr(Turns, "ask", noting(Turns.ask, asked, slow_lane))
            peer = Peer(certificate)
            await peer.connect(at)
            peer.send_records(HEAD, b"x" * RECORDS)
            assert b"length %d!" % RECORDS in await peer.answer()
            peer.writer.transport.abort()

    asyncio.run(ask())
    assert bool(asked) is is_slow


def noting(ask: Any, asked: list[object], lane: Turns) -> Callable[[Turns, Any], None]:
    def note(self: Turns, parser: Any) -> None:
        if self is lane:
            asked.append(parser)
        ask(self, parser)

    return note


@pytest.mark.parametrize(("rest", "expected"), [(0.0, 2), (1e9, 1)])
def test_a_queue_rests_even_if_only_one_asks(rest: float, expected: int) -> None:
    """Else one connection that asks after each turn would never be slowed."""

    class One:
        taken = 0
        transport: Any = None

        def take_turn(self) -> None:
            self.taken += 1

    async def ask_twice() -> int:
        turns, one = Turns(rest), One()
        for _ in range(2):
            turns.ask(one)
            for _ in range(5):
                await asyncio.sleep(0)
        return one.taken

    assert asyncio.run(ask_twice()) == expected
