"""No slow upload shuts another out."""

import random
import socket
import struct
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.server.uploads import Upload, slowest
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S

PATH = "/v1/audio/transcriptions"
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
).encode()


@pytest.mark.parametrize("seed", range(100))
def test_the_slowest_gives_way_and_no_fast_one_ever(seed: int) -> None:
    rng = random.Random(seed)
    now_s = rng.uniform(2, 200)
    uploads = []
    for _ in range(rng.randrange(1, 8)):
        one = Upload(now_s - rng.uniform(0, 120))
        one.received_bytes = int(
            (now_s - one.began_s) * rng.choice([1, 20_000, 100_000, 5_000_000])
        )
        one.is_whole = rng.random() < 0.2
        uploads.append(one)
    found = slowest(uploads, now_s)
    slow = [one for one in uploads if one.is_slow(now_s)]
    assert (found is None) == (not slow), f"seed {seed}"
    for one in uploads:
        elapsed_s = now_s - one.began_s
        is_fast = one.received_bytes >= 1_000_000 * elapsed_s
        assert one is not found or not (is_fast or one.is_whole or elapsed_s < 1), f"seed {seed}"
        if found and one in slow:
            assert found.rate(now_s) <= one.rate(now_s), f"seed {seed}"


def upload(server: Server) -> httpx.Response:
    with sample_path().open("rb") as file:
        return httpx.post(
            server.http_url + PATH,
            files={"file": file},
            data={"model": "any"},
            timeout=DEADLINE_S,
        )


def test_trickled_uploads_leave_room_for_a_file(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 2})
    with ExitStack() as held:
        trickles = []
        for _ in range(2):
            one = held.enter_context(
                socket.create_connection((server.host, server.port), DEADLINE_S)
            )
            one.sendall(HEAD)
            trickles.append(one)
        deadline_s, status = time.monotonic() + DEADLINE_S, 0
        while status != 200:  # a young upload may yet turn out to be fast
            assert time.monotonic() < deadline_s
            status = upload(server).status_code
            assert status in {200, 503}
        answers = [_answer_of(one) for one in trickles]
    assert sum(b"upload_too_slow" in answer for answer in answers) >= 1
    assert "Traceback" not in server.log


def _answer_of(one: socket.socket) -> bytes:
    """What a connection has been told so far; then it is reset."""
    one.settimeout(0.1)
    answer = b""
    with suppress(TimeoutError):
        answer = one.recv(4096)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return answer
