"""Web clients of others, by a whole server: what a page of another origin may ask and read."""

from typing import Any

import httpx
import pytest

from lanscribe.engines.fake import spoken
from tests.servers import ServeHere, ServerHere
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S

KEY = "a-key-of-the-tests"
PAGE = "app://obsidian.md"
FILES = "/v1/audio/transcriptions"


@pytest.fixture
def server(serve_here: ServeHere) -> ServerHere:
    return serve_here(auth={"mode": "lan", "key": KEY})


def ask(
    server: ServerHere, path: str, method: str = "GET", key: str = KEY, **options: Any
) -> httpx.Response:
    """What the page gets, which may read the answer whatever it is."""
    headers = {"Origin": PAGE, **({"Authorization": f"Bearer {key}"} if key else {})}
    url = f"{server.http_url}{path}"
    answer = httpx.request(method, url, headers=headers, timeout=DEADLINE_S, **options)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in answer.headers["vary"]
    assert "Lanscribe-Missing" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    return answer


def test_with_the_key_a_page_reads_every_answer(server: ServerHere) -> None:
    assert ask(server, "/v1/models").json()["object"] == "list"
    assert ask(server, "/health").json()["status"] == "ok"
    made = ask(server, "/v1/realtime/client_secrets", "POST", json={})
    assert made.json()["value"].startswith("ek_")
    assert ask(server, "/no/such/path").status_code == 404
    assert ask(server, "/v1/models", "PUT").status_code == 405
    assert ask(server, FILES, "POST", content=b"x").json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_with_the_key_a_page_reads_a_transcript(server: ServerHere, stream: str) -> None:
    files = {"file": ("sound.wav", by_libsndfile(spoken([1, 2]), "WAV"))}
    answer = ask(server, FILES, "POST", files=files, data={"model": "x", "stream": stream})
    kind = "text/event-stream" if stream == "true" else "application/json"
    assert answer.headers["content-type"].startswith(kind)
    assert '"text":"1 2"' in answer.text


def test_without_it_a_page_reads_the_refusal(server: ServerHere) -> None:
    assert ask(server, "/v1/models", key="").json()["error"]["code"] == "not_allowed"
    for path in ("/v1/models", "/no/such/path", FILES):
        assert ask(server, path, "POST", key="wrong").json()["error"]["code"] == "unauthorized"
    for _ in range(9):
        answer = ask(server, "/v1/models", key="wrong")
    assert answer.status_code == 429
    assert answer.headers["retry-after"].isdecimal()


@pytest.mark.parametrize("path", ["/v1/models", FILES, "/v1/realtime", "/no/such/path", "/sign-in"])
def test_every_preflight_is_answered(server: ServerHere, path: str) -> None:
    asked = {
        "Origin": "https://public.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = httpx.options(f"{server.http_url}{path}", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://public.example"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in answer.headers
    assert "turned away" not in server.log
