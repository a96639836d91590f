"""Floods that one machine can send to a server, without a key unless noted. Loopback only.

    python -m bench.floods KIND HOST:PORT SECONDS

A flood lasts as long as requested, whatever the other end does. Its target may also be a sink,
which reads everything and gives every connection the same answer:

    python -m bench.floods sink 127.0.0.1:0 SECONDS
"""

import base64
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat

KEY = "a-key-of-the-bench"
BYTES_PER_S = 1_000_000
SOURCE = "127.0.0.9"
"""The source address: not the address of the measured streams."""
ANSWER = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
_AT_ONCE = 8
_LOBBY = 40
_LOBBY_BYTES = 15_900_000
_DEADLINE_S = 20


def _frame(opcode: int, payload: bytes = b"") -> bytes:
    """A masked WebSocket frame (RFC 6455, section 5.2), with a zero mask."""
    return bytes([opcode, 0x80 | len(payload)]) + bytes(4) + payload


def _handshake(path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _guess(key: str) -> bytes:
    head = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {key}"
    return f"{head}\r\n\r\n".encode()


def _upload() -> bytes:
    return (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()


def _frames(path: str, first: bytes, frame: bytes) -> tuple[bytes, Iterator[bytes]]:
    """On a WebSocket: a first frame, then six kilobytes of the other frames, repeatedly."""
    return _handshake(path), _after(first, frame * (6000 // len(frame)))


def _after(first: bytes, others: bytes) -> Iterator[bytes]:
    if first:
        yield first
    yield from repeat(others)


def _lobby() -> tuple[bytes, Iterator[bytes]]:
    """In Wyoming's lobby: a question, then most of a large event, and nothing more."""
    large = b'{"type": "audio-chunk", "payload_length": 16000000}\n' + bytes(_LOBBY_BYTES)
    pieces = [large[start : start + 6000] for start in range(0, len(large), 6000)]
    return b'{"type": "describe"}\n', iter([*pieces, b""])


_SESSION = f"/v1/realtime?api_key={KEY}"
Talk = Callable[[], tuple[bytes, Iterator[bytes]]]
LASTING: Mapping[str, tuple[int, Talk]] = {
    "pings": (1, lambda: _frames(_SESSION, b"", _frame(0x89))),
    "pongs": (1, lambda: _frames(_SESSION, b"", _frame(0x8A))),
    "fragments": (1, lambda: _frames(_SESSION, _frame(0x01), _frame(0x00))),
    "bytes": (1, lambda: _frames(_SESSION, _frame(0x01), _frame(0x00, b" "))),
    "strangers": (_AT_ONCE, lambda: _frames("/ws", b"", _frame(0x89))),
    "lobby": (_LOBBY, _lobby),
    "uploads": (_AT_ONCE, lambda: (_upload(), repeat(b"1\r\n-\r\n" * 100))),
}
"""The number of connections, and what each sends first and then repeats."""
ASKING: Mapping[str, Callable[[], bytes]] = {
    "keys": lambda: _guess(os.urandom(9).hex()),
    "knocks": lambda: _handshake("/v1/realtime"),
    "health": lambda: b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}
"""Requests, each on a new connection, sent as fast as they are answered."""
KINDS = [*LASTING, *ASKING]


def main(arguments: Sequence[str]) -> int:
    """Flood, or run as the sink."""
    kind, where, seconds = arguments
    host, _, port = where.rpartition(":")
    if not host.startswith("127."):
        raise SystemExit("loopback only")
    until_s = time.monotonic() + float(seconds)
    if kind == "sink":
        _sink(until_s)
        return 0
    peer = host, int(port)
    count = LASTING[kind][0] if kind in LASTING else _AT_ONCE
    work = _last if kind in LASTING else _ask
    threads = [threading.Thread(target=work, args=(kind, peer, until_s)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _connect(peer: tuple[str, int]) -> socket.socket:
    source = (SOURCE, 0) if sys.platform == "linux" else None
    return socket.create_connection(peer, _DEADLINE_S, source_address=source)


def _last(kind: str, peer: tuple[str, int], until_s: float) -> None:
    """Send one connection's share of a megabyte a second; reconnect when it is closed."""
    count, talk = LASTING[kind]
    while time.monotonic() < until_s:
        with suppress(OSError), _connect(peer) as one:
            hello, flood = talk()
            one.sendall(hello)
            one.recv(500)
            one.settimeout(1)
            _pour(one, flood, BYTES_PER_S / count, until_s)
        time.sleep(0.01)


def _pour(one: socket.socket, flood: Iterator[bytes], bytes_per_s: float, until_s: float) -> None:
    for piece in flood:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            break
        with suppress(TimeoutError):
            one.sendall(piece)
        time.sleep(min(left_s, len(piece) / bytes_per_s if piece else left_s))


def _ask(kind: str, peer: tuple[str, int], until_s: float) -> None:
    while time.monotonic() < until_s:
        with suppress(OSError), _connect(peer) as one:
            one.sendall(ASKING[kind]())
            one.recv(4000)


def _sink(until_s: float) -> None:
    """Read everything, and answer the first of each connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
        listener.settimeout(0.1)
        while time.monotonic() < until_s:
            with suppress(TimeoutError):
                one, _ = listener.accept()
                threading.Thread(target=_drain, args=(one, until_s), daemon=True).start()


def _drain(one: socket.socket, until_s: float) -> None:
    one.settimeout(1)
    with suppress(OSError), one:
        one.recv(2**16)
        one.sendall(ANSWER)
        while time.monotonic() < until_s:
            with suppress(TimeoutError):
                if not one.recv(2**16):
                    break


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
