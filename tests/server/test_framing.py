"""A request whose end is in doubt gets a named 400, and nothing behind it is read as a request."""

import random
import socket

import pytest

from lanscribe.server.framing import asks_for_websocket, head_fault, is_tls
from tests.fuzz.requests import FAULTS, GOOD, HANDSHAKE
from tests.server.test_http_errors import exchange
from tests.servers import Server
from tests.support import DEADLINE_S


@pytest.mark.parametrize("head", GOOD)
def test_a_good_head_has_no_fault(head: bytes) -> None:
    assert head_fault(head) is None
    assert head_fault(head[:-1]) is None, "it is not whole yet"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(fake_server: Server, name: str) -> None:
    status, headers, error = exchange(fake_server, FAULTS[name])
    assert (status, error["code"]) == (400, "invalid_request")
    assert headers["connection"] == "close"
    assert "got no HTTP request" in error["message"]
    assert "Traceback" not in fake_server.log


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (FAULTS["two lengths"], "Content-Length is not one"),
        (FAULTS["length and coding"], "both Content-Length and Transfer-Encoding"),
        (FAULTS["folded"], "folded"),
        (FAULTS["bare LF"], "bare CR or LF"),
        (FAULTS["absolute target"], "target is not a path"),
        (FAULTS["handshake with a body"], "WebSocket handshake, which has no body"),
        (FAULTS["two hosts"], "more than one Host"),
        (FAULTS["coding in 1.0"], "HTTP/1.0"),
        (b"GET / HTTP/1.1\r\nX: " + 17_000 * b"y" + b"\r\n\r\n", "expected at most 16384"),
    ],
)
def test_what_is_said_of_it(head: bytes, part: str) -> None:
    assert part in str(head_fault(head))


@pytest.mark.parametrize("seed", range(300))
def test_no_bytes_break_it(seed: int) -> None:
    rng = random.Random(seed)
    head = bytearray(rng.choice([*GOOD, *FAULTS.values()]))
    for _ in range(rng.randrange(1, 6)):
        head[rng.randrange(len(head))] = rng.choice(b"\r\n\t :0,aZ\x00\xff")
    fault = head_fault(bytes(head))
    assert fault is None or fault, f"seed {seed}"


def test_a_handshake_with_a_length_of_zero_is_one(fake_server: Server) -> None:
    with socket.create_connection((fake_server.host, fake_server.port), DEADLINE_S) as one:
        one.sendall(HANDSHAKE[:-2] + b"Content-Length: 0\r\n\r\n")
        assert one.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_several_connection_lines_count() -> None:
    headers = [(b"connection", b"Upgrade"), (b"connection", b"keep-alive")]
    assert asks_for_websocket([*headers, (b"upgrade", b"WebSocket")])
    assert not asks_for_websocket([*headers, (b"upgrade", b"h2c")])
    assert not asks_for_websocket([(b"upgrade", b"websocket")])


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", True),
        (b"\x16\x03\x03\x00\xf4\x01", True),
        (b"\x16\x03\x01\x02\x00", False),
        (b"\x16\x03\x01\x02\x00\x02", False),
        (b"\x16\x04\x01\x02\x00\x01", False),
        (b"GET / HTTP/1.1\r\n", False),
        (b"", False),
    ],
)
def test_a_tls_handshake_is_known_by_its_beginning(received: bytes, expected: bool) -> None:
    assert is_tls(received) is expected
