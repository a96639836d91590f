"""Bytes over TCP, as no client would send or cut them, and what has to come of them.

    python -m tests.fuzz.wire --seconds 600 [--seed 0]

Starts a server of its own. Ends with 0 when every row of bytes got what it has to get, and the
log has no traceback; otherwise with the seed of the one that did not. Each run begins at `seed`:
an hour over several runs takes as many.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lanscribe import PROJECT_DIR
from tests.fuzz.requests import FAULTS, GOOD, HANDSHAKE
from tests.servers import Server, ServerProcess

_DEADLINE_S = 60
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
_TEXT, _BYTES, _MORE, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
_FIN = 0x80
_PROTOCOL_ERRORS = {1002, 1007, 1009}


class Wire:
    """A connection whose bytes are cut at random, and what came back over it."""

    def __init__(self, server: Server, rng: random.Random) -> None:
        self._rng = rng
        self._received = b""
        source = (f"127.{rng.randrange(1, 250)}.{rng.randrange(250)}.9", 0)
        here = source if sys.platform == "linux" else None
        peer = (server.host, server.port)
        self.socket = socket.create_connection(peer, _DEADLINE_S, source_address=here)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send it in a few pieces; the peer may close before the last one."""
        cuts = sorted(self._rng.randrange(len(data) + 1) for _ in range(self._rng.randrange(4)))
        with suppress(ConnectionError):
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                self.socket.sendall(data[start:end])

    def read(self, count: int) -> bytes:
        """So many bytes. Raises EOFError at the end."""
        while len(self._received) < count:
            self._read_on()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def head(self) -> bytes:
        """The head of an answer. Raises EOFError at the end."""
        while b"\r\n\r\n" not in self._received:
            self._read_on()
        return self.read(self._received.index(b"\r\n\r\n") + 4)

    def is_over(self) -> bool:
        """Wait until the peer has closed; False when it says something instead."""
        try:
            self.read(1)
        except EOFError:
            return True
        return False

    def _read_on(self) -> None:
        with suppress(ConnectionError):
            if data := self.socket.recv(65_536):
                self._received += data
                return
        raise EOFError


@contextmanager
def wire(server: Server, rng: random.Random) -> Iterator[Wire]:
    """A connection, closed in the end."""
    one = Wire(server, rng)
    with one.socket:
        yield one


def talk_http(server: Server, rng: random.Random) -> None:
    """Good requests, then perhaps one in doubt: each has one answer, and nothing is smuggled."""
    good = [rng.choice(GOOD) for _ in range(rng.randrange(5))]
    fault = rng.choice([b"", *FAULTS.values()])
    with wire(server, rng) as one:
        one.send(b"".join(good) + (fault + _SMUGGLED if fault else b""))
        statuses = [_status(one) for _ in good]
        assert 400 not in statuses, statuses
        if fault:
            assert _status(one) in {400, 405}  # 405 when its head was answered before its body
            assert one.is_over(), "something behind a request in doubt was answered"


def _status(one: Wire) -> int:
    head = one.head()
    lines = head.lower().split(b"\r\n")
    (length,) = [int(line.partition(b":")[2]) for line in lines if b"content-length:" in line]
    body = one.read(length)
    assert b"smuggled" not in body, body
    return int(head.split()[1])


def talk_websocket(server: Server, rng: random.Random) -> None:
    """Messages, whole and in pieces, pings between them: each has its answer, in its order."""
    with wire(server, rng) as one:
        one.send(HANDSHAKE)
        assert one.head().startswith(b"HTTP/1.1 101 ")
        stream, pings, messages = _frames(rng)
        end, codes = rng.choice(_ENDS)
        is_patient = rng.random() < 0.5
        one.send(stream if is_patient else stream + end)
        heard = _Heard()
        if is_patient:
            heard.listen(one, lambda: heard.errors == messages and len(heard.pongs) == len(pings))
            one.send(end)
        heard.listen(one, lambda: heard.code is not None)
    assert heard.code in codes, heard.code
    assert heard.pongs == pings, (heard.pongs, pings)
    missing = messages - heard.errors  # who leaves at once does not hear everything
    assert missing == 0 if is_patient else missing >= 0, f"{heard.errors} answers, not {messages}"


def _frames(rng: random.Random) -> tuple[bytes, list[bytes], int]:
    """A stream of frames, its pings, and how many messages it holds; none of them is JSON."""
    stream, pings, messages = b"", list[bytes](), 0
    for _ in range(rng.randrange(20)):
        pieces = rng.choice([1, 1, 1, 2, 5])
        messages += 1
        for number in range(pieces):
            while rng.random() < 0.3:
                pings.append(rng.randbytes(rng.choice([0, 0, 4, 125])))
                stream += frame(rng, _FIN | _PING, pings[-1])
            if rng.random() < 0.1:
                stream += frame(rng, _FIN | _PONG, rng.randbytes(rng.randrange(126)))
            opcode = _MORE if number else _TEXT
            is_last = number == pieces - 1
            payload = b"x" * rng.choice([0, 1, 70, 130, 70_000]) if number else b"no JSON"
            stream += frame(rng, opcode | (_FIN if is_last else 0), payload)
    return stream, pings, messages


def frame(rng: random.Random, head: int, payload: bytes) -> bytes:
    """A masked frame (RFC 6455, section 5.2)."""
    size, mask = len(payload), rng.randbytes(4)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([head]) + length + mask + masked


_FIXED = random.Random(0)
_ENDS: list[tuple[bytes, set[int]]] = [
    (frame(_FIXED, _FIN | _CLOSE, b"\x03\xe8"), {1000}),
    (frame(_FIXED, _FIN | _CLOSE, b"\x03"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | _CLOSE, b"\x03\xed"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | _MORE, b"of nothing"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | 0x3, b"reserved"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | 0x40 | _TEXT, b"reserved"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _PING, b"in pieces"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | _PING, 126 * b"y"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _FIN | _TEXT, b"\xff"), _PROTOCOL_ERRORS),
    (frame(_FIXED, _TEXT, b"a") + frame(_FIXED, _FIN | _TEXT, b"b"), _PROTOCOL_ERRORS),
    (bytes([_FIN | _TEXT, 0x80 | 127]) + b"\x7f" + bytes(11), _PROTOCOL_ERRORS),
    (bytes([_FIN | _TEXT, 1]) + b"not masked", _PROTOCOL_ERRORS),
]
"""How a stream of frames ends, and with which codes it is closed then."""


class _Heard:
    """The pongs, how many errors were told, and the code at the end."""

    def __init__(self) -> None:
        self.pongs: list[bytes] = []
        self.errors = 0
        self.code: int | None = None

    def listen(self, one: Wire, is_enough: Callable[[], bool]) -> None:
        """Read frames until it is enough."""
        while not is_enough():
            head, size = one.read(2)
            if size == 126:
                size = int.from_bytes(one.read(2), "big")
            payload = one.read(size)
            match head & 0xF:
                case 0xA:
                    self.pongs.append(payload)
                case 0x8:
                    self.code = int.from_bytes(payload[:2], "big")
                case _:
                    self.errors += json.loads(payload)["type"] == "error"


def talk_noise(server: Server, rng: random.Random) -> None:
    """Damaged bytes: whatever they mean, a whole head is answered."""
    start = bytearray(rng.choice([HANDSHAKE, *GOOD, *FAULTS.values()]))
    for _ in range(rng.randrange(6)):
        start[rng.randrange(len(start))] = rng.choice([rng.randrange(256), 10, 13, 32, 58])
    with wire(server, rng) as one:
        one.send(bytes(start) + rng.randbytes(rng.choice([0, 3, 200])))
        if b"\r\n\r\n" in start:
            with suppress(EOFError):
                assert one.read(9).startswith(b"HTTP/1.1 "), bytes(start)
                return
            raise AssertionError(f"no answer to {bytes(start)!r}")


TALKS: list[Callable[[Server, random.Random], None]] = [talk_http, talk_websocket, talk_noise]


def talk(server: Server, seed: int) -> None:
    """What a seed leads to. Raises AssertionError that names it."""
    rng = random.Random(seed)
    try:
        rng.choice(TALKS)(server, rng)
    except (AssertionError, EOFError, TimeoutError) as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def main() -> int:
    """Talk for so many seconds, to a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lanscribe-fuzz-"))
    apart = {"LANSCRIBE_WYOMING_PORT": "0", "LANSCRIBE_DISCOVERY_ENABLED": "false"}
    apart["LANSCRIBE_LOG_FILE"] = str(folder / "log")
    settings = ["--config", str(PROJECT_DIR / "config/lanscribe.toml"), "--engine", "fake"]
    server = ServerProcess(
        folder / "stderr", arguments=[*settings, "--sessions", "64"], environment=apart
    )
    server.start()
    try:
        seed, until_s = options.seed, time.monotonic() + options.seconds
        while time.monotonic() < until_s:
            talk(server, seed)
            seed += 1
        assert "Traceback" not in server.log, server.log_path
    finally:
        server.stop()
    sys.stderr.write(f"seeds {options.seed} to {seed - 1}: nothing broke; the log is {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
