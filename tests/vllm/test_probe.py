import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lanscribe.vllm import probe
from tests.support import DEADLINE_S

Serve = Callable[[socket.socket], None]


@contextmanager
def served(serve: Serve) -> Iterator[str]:
    """The URL of a server that does this with one connection, and then hangs up."""

    def accept() -> None:
        with listener.accept()[0] as peer:
            serve(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/health"
        thread.join()


def answering(answer: bytes, asked: list[bytes] | None = None) -> Serve:
    def serve(peer: socket.socket) -> None:
        request = peer.recv(4096)
        if asked is not None:
            asked.append(request)
        peer.sendall(answer)

    return serve


def in_thread(url: str, timeout_s: float, key: str = "") -> probe.Answer:
    return asyncio.run(probe.get_in_thread(url, timeout_s, key))


@pytest.fixture(params=[probe.get, in_thread])
def get(request: pytest.FixtureRequest) -> Callable[..., probe.Answer]:
    """Either way to ask."""
    way: Callable[..., probe.Answer] = request.param
    return way


def test_status_body_and_key(get: Callable[..., probe.Answer]) -> None:
    asked: list[bytes] = []
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nloading"
    with served(answering(answer, asked)) as url:
        assert get(url, DEADLINE_S, "secret") == probe.Answer(503, b"loading")
    assert asked[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer secret\r\n" in asked[0]


def test_without_a_key_none_is_sent(get: Callable[..., probe.Answer]) -> None:
    asked: list[bytes] = []
    with served(answering(b"HTTP/1.0 200 OK\r\n\r\n", asked)) as url:
        assert get(url, DEADLINE_S) == probe.Answer(200, b"")
    assert b"Authorization" not in asked[0]


def test_a_long_body_is_not_read_to_its_end(get: Callable[..., probe.Answer]) -> None:
    with served(answering(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2**17))) as url:
        assert get(url, DEADLINE_S) == probe.Answer(200, bytes(probe.LONGEST_BYTES))


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x01\x00\x02"])
def test_what_is_not_http_is_an_oserror(get: Callable[..., probe.Answer], answer: bytes) -> None:
    with served(answering(answer)) as url, pytest.raises(ConnectionError):
        get(url, DEADLINE_S)


def test_a_silent_server_is_not_waited_for(get: Callable[..., probe.Answer]) -> None:
    asked = threading.Event()

    def serve(_: socket.socket) -> None:
        asked.wait(DEADLINE_S)

    with served(serve) as url:
        with pytest.raises(TimeoutError):
            get(url, 0.1)
        asked.set()


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\n\r\nso far"])
def test_whoever_waits_no_longer_ends_the_connection(beginning: bytes) -> None:
    """Its thread would hold up the end of the event loop."""
    has_begun, is_ended = threading.Event(), threading.Event()

    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(beginning)
        has_begun.set()
        peer.settimeout(DEADLINE_S)
        assert peer.recv(4096) == b""
        is_ended.set()

    async def abandon(url: str) -> None:
        asking = asyncio.create_task(probe.get_in_thread(url, 10 * DEADLINE_S))
        assert await asyncio.to_thread(has_begun.wait, DEADLINE_S)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()

    with served(serve) as url:
        asyncio.run(abandon(url))
        assert is_ended.wait(DEADLINE_S)
