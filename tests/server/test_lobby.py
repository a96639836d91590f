"""Wyoming's lobby: whoever has no session holds little, not for long, and shuts nobody out."""

import json
import random
import socket
import sys
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from lanscribe.dialects.wyoming import EventSplitter, type_of
from lanscribe.engines.fake import spoken
from lanscribe.errors import ProtocolError
from lanscribe.speech.audio import samples_to_pcm16
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S, counting

DESCRIBE = b'{"type": "describe"}\n'
FORMAT: dict[str, Any] = {"rate": 16000, "width": 2, "channels": 1}
LARGE_BYTES = 15_900_000


def event(kind: str, payload: bytes = b"", **data: Any) -> bytes:
    line = {"type": kind, "data": data, "payload_length": len(payload)}
    return json.dumps(line).encode() + b"\n" + payload


def dial(server: Server, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        (server.host, server.wyoming_port), DEADLINE_S, source_address=(address, 0)
    )


def line_of(one: socket.socket) -> bytes:
    received = b""
    while b"\n" not in received:
        part = one.recv(65_536)
        assert part, received
        received += part
    return received


def transcript_of(one: socket.socket) -> bytes:
    splitter, taken = EventSplitter(2**20), b""
    while not taken or type_of(taken) != "transcript":
        taken = splitter.take() or b""
        if not taken:
            part = one.recv(65_536)
            assert part
            splitter.feed(part)
    return taken


def test_a_large_event_without_a_session_is_refused_before_it_is_read(
    start_server: StartServer,
) -> None:
    server = start_server()
    before = server.resident_bytes()
    header = b'{"type": "audio-chunk", "payload_length": 16000000}\n'
    with ExitStack() as held:
        for _ in range(20):
            one = held.enter_context(dial(server))
            one.sendall(DESCRIBE)
            assert b'"info"' in line_of(one)
            with suppress(ConnectionError):
                one.sendall(header + bytes(LARGE_BYTES))
            with suppress(ConnectionError):
                while one.recv(65_536):
                    pass
        assert server.resident_bytes() < before + 20 * 2**20
    assert "Traceback" not in server.log


def test_an_event_that_does_not_come_to_its_end_is_not_waited_for(
    serve_here: ServeHere,
) -> None:
    """However many of its bytes come, one at a time."""
    server = serve_here(limits={"handshake_timeout_s": 0.3})
    with dial(server) as one:
        one.sendall(DESCRIBE)
        assert b'"info"' in line_of(one)
        deadline_s = time.monotonic() + DEADLINE_S
        one.settimeout(0.02)
        with pytest.raises((ConnectionError, EOFError)):
            while time.monotonic() < deadline_s:
                one.sendall(b" ")
                with suppress(TimeoutError):
                    if not one.recv(4096):
                        raise EOFError


def test_within_a_session_a_large_event_is_heard(fake_server: Server) -> None:
    numbers = range(1, 300)
    sound = samples_to_pcm16(spoken(numbers))
    assert len(sound) > 2**19
    with dial(fake_server) as one:
        one.sendall(event("audio-start", **FORMAT) + event("audio-chunk", sound, **FORMAT))
        one.sendall(event("audio-stop"))
        assert counting(numbers).encode() in transcript_of(one)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is no address elsewhere")
def test_the_lobby_shuts_nobody_out(serve_here: ServeHere) -> None:
    server = serve_here(limits={"connections": 6})
    with ExitStack() as held:
        for number in range(6):
            one = held.enter_context(dial(server, f"127.0.0.{2 + number % 2}"))
            one.sendall(DESCRIBE if number % 3 else b'{"type": "desc')
        with dial(server) as home:
            home.sendall(event("audio-start", **FORMAT))
            for _ in range(6):
                held.enter_context(dial(server, "127.0.0.2"))
            sound = samples_to_pcm16(spoken([1, 2, 3]))
            home.sendall(event("audio-chunk", sound, **FORMAT) + event("audio-stop"))
            assert b'"1 2 3"' in transcript_of(home)


def test_many_questions_of_one_address_wait_for_each_other(serve_here: ServeHere) -> None:
    server = serve_here()
    count, at_once, rate = 115, 100, 20
    began_s = time.monotonic()
    with dial(server) as one:
        one.sendall(DESCRIBE * count)
        received = 0
        while received < count:
            part = one.recv(65_536)
            assert part
            received += part.count(b'"info"')
    assert time.monotonic() - began_s > (count - at_once - 2) / rate


@pytest.mark.parametrize("seed", range(100))
def test_what_waits_for_the_rest_of_an_event_is_bounded(seed: int) -> None:
    """Whatever comes, cut however: the splitter holds no more than its bound and one read."""
    rng = random.Random(seed)
    most, read = rng.choice([200, 16_384]), rng.choice([1, 64, 4096])
    splitter, total = EventSplitter(most), 0
    whole = event(rng.choice(["ping", "audio-chunk"]), rng.randbytes(rng.randrange(2 * most)))
    stream = rng.choice([whole, b" " * 3 * most, b"{" + b"x" * 3 * most, whole * 3])
    try:
        for start in range(0, len(stream), read):
            splitter.feed(stream[start : start + read])
            total += min(read, len(stream) - start)
            while (taken := splitter.take()) is not None:
                total -= len(taken)
                assert len(taken) <= most, f"seed {seed}"
            assert total <= most + read, f"seed {seed}"
    except ProtocolError as error:
        assert error.code in {"message_too_large", "invalid_json"}, f"seed {seed}"


def test_data_of_an_event_is_bounded_also_within_a_session() -> None:
    """A large one would be parsed at once, and nobody else served meanwhile."""
    splitter = EventSplitter(2**24)
    splitter.feed(b'{"type": "audio-chunk", "data_length": 1000000}\n')
    with pytest.raises(ProtocolError, match="65536") as caught:
        splitter.take()
    assert caught.value.code == "message_too_large"


def test_nonsense_is_refused_ever_later_and_keeps_nobody_silent(serve_here: ServeHere) -> None:
    """Whoever has the same address is answered a few seconds after it."""
    server = serve_here()
    refused = 0
    deadline_s = time.monotonic() + 3
    while time.monotonic() < deadline_s:
        with dial(server) as one:
            one.sendall(b"x\n")
            refused += b"error" in line_of(one)
    assert refused < 20 + 4 * DEADLINE_S  # the pace allows 20 at once and 4 a second
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(dial(server)).sendall(b"x\n")
        honest = held.enter_context(dial(server))
        honest.settimeout(DEADLINE_S / 2)
        honest.sendall(DESCRIBE)
        assert b'"info"' in line_of(honest)
    assert "Traceback" not in server.log
