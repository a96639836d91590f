"""Whatever goes wrong over HTTP is told in one shape, and programs show what was told."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from typing import Any

import httpx
import openai
import pytest
from mistralai.client import Mistral
from mistralai.extra.exceptions import RealtimeTranscriptionWSError
from openai import OpenAI

from lanscribe import PROJECT_DIR
from lanscribe.config import Settings
from lanscribe.engines.base import EngineInfo
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import FakeEngine
from lanscribe.server.gateway import Gateway
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nHost: localhost\r\n"
HANDSHAKE = UPGRADE + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

FILES_HINT = (
    "; expected http://localhost/v1/audio/transcriptions; the base URL of an SDK is"
    " http://localhost/v1"
)
LIVE_HINT = "; expected ws://localhost/v1/realtime; the base URL of an SDK is http://localhost/v1"


def exchange(server: Server, request: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send these bytes: the status, the headers and the error of the answer."""
    with socket.create_connection((server.host, server.port), DEADLINE_S) as one:
        one.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < _length(answer):
            part = one.recv(65_536)
            assert part, answer
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["content-type"] == "application/json"
    content = json.loads(body)
    assert content.keys() == {"error"}
    assert content["error"].keys() == {"message", "type", "param", "code"}
    return int(status.split()[1]), headers, content["error"]


def _length(answer: bytes) -> int:
    lines = answer.lower().partition(b"\r\n\r\n")[0].split(b"\r\n")
    (length,) = [line.partition(b":")[2] for line in lines if line.startswith(b"content-length")]
    return int(length)


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "code", "part"),
    [
        ("GET /nothing", "", 404, "not_found", "got GET '/nothing'; GET / lists"),
        ("GET /v1//realtime", "", 404, "not_found", "got GET '/v1//realtime'"),
        ("GET /V1/MODELS", "", 404, "not_found", "GET / lists"),
        ("GET /v1/realtime", "", 404, "not_found", "connect with ws://"),
        ("DELETE /health", "", 405, "method_not_allowed", "expected "),
        ("GET /v1/audio/transcriptions", "", 405, "method_not_allowed", "expected POST"),
        ("POST /v1/v1/audio/transcriptions", "", 404, "not_found", FILES_HINT),
        ("POST /v1/audio/transcriptions/audio/transcriptions", "", 404, "not_found", FILES_HINT),
        ("POST /audio/transcriptions", "", 404, "not_found", FILES_HINT),
        ("GET /v1/realtime/models", "", 404, "not_found", "expected http://localhost/v1/models; "),
        ("GET /v1/realtime/", "", 404, "not_found", "ws:// or wss://: ws://localhost/v1/realtime"),
        ("GET /v1/v1/realtime", HANDSHAKE, 404, "not_found", LIVE_HINT),
        ("GET /v1/realtime/", HANDSHAKE, 404, "not_found", LIVE_HINT),
        (
            "GET /v1/audio/transcriptions",
            "",
            405,
            "method_not_allowed",
            "expected POST with a file: curl http://localhost/v1/audio/transcriptions -F file",
        ),
        ("OPTIONS /v1/models", "", 405, "method_not_allowed", "got OPTIONS '/v1/models'"),
        ("GET /", "Host: twice\r\n", 400, "invalid_request", "got no HTTP request"),
        ("\x16\x03\x01 \x00", "", 400, "invalid_request", "got no HTTP request"),
        ("GET /v1/realtime/", HANDSHAKE, 404, "not_found", "expected one of /v1/realtime, "),
        ("GET /v1/realtime", UPGRADE, 400, "invalid_request", "Sec-WebSocket-Key"),
        ("GET /v1/realtime", HANDSHAKE.replace("13", "8"), 400, "invalid_request", "Version"),
        ("POST /v1/realtime", HANDSHAKE, 405, "invalid_request", "unsupported HTTP method"),
        (
            "GET /v1/realtime",
            HANDSHAKE + "Cookie: " + 9_000 * "y" + "\r\n",
            431,
            "invalid_request",
            "no more than 8192",
        ),
        (
            "GET /v1/realtime",
            HANDSHAKE + "Origin: null\r\n",
            403,
            "not_allowed",
            "got the Origin 'null'",
        ),
    ],
)
def test_every_refusal_has_the_same_shape(
    fake_server: Server, request_line: str, headers: str, status: int, code: str, part: str
) -> None:
    host = "" if "Host" in headers and "twice" not in headers else "Host: localhost\r\n"
    request = f"{request_line} HTTP/1.1\r\n{host}{headers}\r\n".encode("latin-1")
    got, answered, error = exchange(fake_server, request)
    assert (got, error["code"]) == (status, code)
    assert part in error["message"]
    assert error["type"] == "invalid_request_error"
    assert "allow" in answered or status != 405


def test_tls_to_the_plain_port_is_told_at_once_and_logged_once(serve_here: ServeHere) -> None:
    server = serve_here()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(3):
        with (
            socket.create_connection((server.host, server.port), DEADLINE_S) as one,
            pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number"),
        ):
            context.wrap_socket(one)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
    status, _, error = exchange(server, hello)
    assert status == 400
    assert error["message"].endswith("this port takes http:// and ws:// only")
    told = [line for line in server.log.splitlines() if "TLS" in line or "Invalid" in line]
    assert len(told) == 1
    assert "127.0.0.1 speaks TLS (https:// or wss://) to the port for http:// and" in told[0]


def test_a_head_without_end(fake_server: Server) -> None:
    status, _, error = exchange(fake_server, b"GET / HTTP/1.1\r\nX: " + 20_000 * b"y")
    assert status == 400
    assert "larger than 16 KiB" in error["message"]


class Flawed(FakeEngine):
    """An engine that cannot say what it is any more once it is loaded."""

    is_flawed = False

    def describe(self) -> EngineInfo:
        if self.is_flawed:
            raise ZeroDivisionError
        return super().describe()


def test_a_defect_has_it_too() -> None:
    gateway, engine = Gateway(Settings()), Flawed()
    gateway.engine_loaded(engine)
    engine.is_flawed = True

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(gateway.app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as one:
            return await one.get("/health")

    response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert response.json()["error"]["type"] == "server_error"


def test_openais_client_shows_what_is_wrong(locked_server: Server) -> None:
    url = f"{locked_server.http_url}/v1"
    with OpenAI(api_key="none", base_url=url, max_retries=0) as one:
        with pytest.raises(openai.AuthenticationError, match="got a wrong key; the key goes") as no:
            one.models.list()
        assert no.value.code == "unauthorized"
        with pytest.raises(openai.AuthenticationError, match="got a wrong key"):
            one.audio.transcriptions.create(file=("a.wav", bytes(5_000_000)), model="any")


def test_mistrals_client_shows_what_is_wrong(locked_server: Server) -> None:
    async def converse() -> None:
        one = Mistral(server_url=locked_server.http_url, api_key="none")
        await one.audio.realtime.connect(model="any")

    with pytest.raises(RealtimeTranscriptionWSError, match="got a wrong key; the key goes"):
        asyncio.run(converse())


@pytest.mark.parametrize("model", [(), ("--model", "any")], ids=["models", "handshake"])
def test_the_clients_show_what_is_wrong(locked_server: Server, model: tuple[str, ...]) -> None:
    script = PROJECT_DIR / "test_file_transcribe.py"
    options = ("--url", locked_server.url, "--audio_path", str(sample_path()), *model)
    ended = subprocess.run(
        [sys.executable, script, *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 1
    assert "HTTP" in ended.stderr
    assert "401" in ended.stderr
    assert "got no key: pass the key with --api-key or in LANSCRIBE_API_KEY;" in ended.stderr
