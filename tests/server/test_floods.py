"""Frames and connections that carry nothing: they are read later, and shut nobody out."""

import asyncio
import base64
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lanscribe.engines.fake import spoken
from tests.fuzz.requests import HANDSHAKE
from tests.fuzz.wire import frame, wire
from tests.server.test_bad_input import MODEL, connect_with_little_room, handshake, wait_for_log
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S, client, counting

RNG = random.Random(0)
PING, PONG, TEXT, BYTES, MORE = (frame(RNG, head, b"") for head in (0x89, 0x8A, 0x01, 0x82, 0x00))
PIECE = frame(RNG, 0x00, b"x")
MARK = frame(RNG, 0x89, b"mark")
MESSAGES_PER_S = 10_000
FREE_FRAMES, FRAMES_PER_S = MESSAGES_PER_S * 10 // 20, MESSAGES_PER_S // 20
"""What an empty frame costs: twenty messages."""
BEYOND = 400


@pytest.mark.parametrize(
    ("first", "flood"),
    [(b"", PING), (b"", PONG), (b"", BYTES), (TEXT, MORE), (TEXT, PIECE), (TEXT, PIECE + PONG)],
    ids=["pings", "pongs", "messages", "fragments", "pieces", "mixed"],
)
def test_frames_that_carry_nothing_are_read_later(
    serve_here: ServeHere, first: bytes, flood: bytes
) -> None:
    """No sooner than the pace allows; another client is served meanwhile."""
    server = serve_here(limits={"messages_per_s": MESSAGES_PER_S})
    count = (FREE_FRAMES + BEYOND) // (2 if flood == PIECE + PONG else 1)
    with wire(server, random.Random(1)) as one:
        one.send(HANDSHAKE)
        assert one.head().startswith(b"HTTP/1.1 101 ")
        began_s = time.monotonic()
        one.socket.sendall(first + flood * count + MARK)

        async def converse() -> None:
            async with client(server.url, MODEL) as other:
                done = await other.transcribe(spoken(range(1, 50)))
                assert done["text"] == counting(range(1, 50))

        asyncio.run(converse())
        received = b""
        while b"mark" not in received:
            received = received[-3:] + one.read(1)
        assert time.monotonic() - began_s > (BEYOND - 16) / FRAMES_PER_S


def test_a_client_that_does_not_read_its_pongs_is_let_go(start_server: StartServer) -> None:
    server = start_server("fake", LANSCRIBE_LIMITS_SEND_TIMEOUT_S="0.5")
    before = server.resident_bytes()

    async def converse() -> None:
        reader, writer = await connect_with_little_room(server)
        try:
            await handshake(reader, writer)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(DEADLINE_S):
                    while True:
                        writer.write(frame(RNG, 0x89, 125 * b"y") * 100)
                        await writer.drain()
        finally:
            writer.transport.abort()

    asyncio.run(converse())
    wait_for_log(server, "read nothing of what it was sent")
    assert server.resident_bytes() < before + 20 * 2**20


def test_a_message_that_is_no_text_is_told_and_the_rest_is_read(serve_here: ServeHere) -> None:
    """Also when its pieces cost more than the pace allows: more comes than the system buffers."""
    server = serve_here(limits={"messages_per_s": 1})
    with wire(server, random.Random(3)) as one:
        one.send(HANDSHAKE)
        assert one.head().startswith(b"HTTP/1.1 101 ")
        one.socket.sendall(frame(RNG, 0x01, b"x") + frame(RNG, 0x80, b"\xff"))
        one.socket.sendall(bytes(8 * 2**20))
        received = b""
        while not received.endswith(b"\x88\x02\x03\xef"):  # 1007
            received += one.read(1)


def test_what_comes_with_the_handshake_is_heard(fake_server: Server) -> None:
    with wire(fake_server, random.Random(2)) as one:
        one.socket.sendall(HANDSHAKE + MARK)
        assert one.head().startswith(b"HTTP/1.1 101 ")
        received = b""
        while b"mark" not in received:
            received = received[-3:] + one.read(1)


@pytest.mark.parametrize(
    "flood", [PING * 1000, bytes([0x82, 0x80 | 127, 0, 0, 0, 0, 0, 255, 255, 255]) + bytes(10_000)]
)
def test_a_refused_stranger_is_told_and_gone(locked_server: Server, flood: bytes) -> None:
    with socket.create_connection((locked_server.host, locked_server.port), DEADLINE_S) as one:
        one.sendall(HANDSHAKE.replace(b"/v1/realtime", b"/ws"))
        told = b""
        while b"authentication_failed" not in told:
            part = one.recv(4096)
            assert part, told
            told += part
        one.settimeout(DEADLINE_S)
        with pytest.raises(ConnectionError):
            while True:
                one.sendall(flood)


def from_address(server: Server, address: str) -> socket.socket:
    return socket.create_connection(
        (server.host, server.port), DEADLINE_S, source_address=(address, 0)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is no address elsewhere")
def test_who_only_connects_leaves_for_who_asks(serve_here: ServeHere) -> None:
    """Also one who has had an answer, one whose request does not go on, and one refused."""
    server = serve_here(limits={"connections": 8})
    starts = [
        b"",
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PUT /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody",
    ]
    with ExitStack() as held:
        for number in range(8):
            one = held.enter_context(from_address(server, f"127.0.0.{2 + number % 2}"))
            one.sendall(start := starts[number % 4])
            if b"\r\n\r\n" in start:
                assert one.recv(4096).startswith(b"HTTP/1.1 ")

        async def converse() -> None:
            async with client(server.url, MODEL) as other:
                for _ in range(8):
                    held.enter_context(from_address(server, "127.0.0.2"))
                done = await other.transcribe(spoken([1, 2, 3]))
                assert done["text"] == "1 2 3"

        asyncio.run(converse())


def answers_of(server: Server, requests: bytes, is_whole: Callable[[bytes], bool]) -> bytes:
    """What comes over one connection for so many requests, sent at once."""
    with socket.create_connection((server.host, server.port), DEADLINE_S) as one:
        one.sendall(requests)
        answers = b""
        while not is_whole(answers):
            part = one.recv(65_536)
            assert part, answers
            answers += part
    return answers


def test_many_requests_of_one_address_wait_for_each_other(serve_here: ServeHere) -> None:
    server = serve_here()
    count, burst, rate = 240, 200, 50
    ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    began_s = time.monotonic()
    answers_of(server, ask * count, lambda answers: answers.count(b"HTTP/1.1 200") == count)
    assert time.monotonic() - began_s > (count - burst - 10) / rate


def test_an_upload_in_pieces_of_one_byte_is_read_whole(serve_here: ServeHere) -> None:
    """Forty thousand of them come in one read of the socket."""
    server = serve_here(limits={"messages_per_s": 100_000})
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + 20_000 * b"y"
    form += b"\r\n--x--\r\n"
    chunks = b"".join(b"1\r\n" + form[at : at + 1] + b"\r\n" for at in range(len(form)))
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    request = head.encode() + chunks + b"0\r\n\r\n"
    answer = answers_of(server, request, lambda answers: answers.endswith(b"}}"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["param"] == "file"


def test_the_address_of_a_refused_stranger_waits(serve_here: ServeHere) -> None:
    key = base64.b64encode(os.urandom(12)).decode()
    server = serve_here(auth={"mode": "key", "key": key})
    ask = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    count, at_once, rate = 28, 20, 5
    began_s = time.monotonic()
    answers_of(server, ask * count, lambda answers: answers.count(b"HTTP/1.1 401") == count)
    assert time.monotonic() - began_s > (count - at_once - 2) / rate
    assert server.log.count("turned away") <= 11
    assert "Traceback" not in server.log
