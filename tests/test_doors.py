"""Who may come in: the doorkeeper by itself, for addresses that a test cannot have, and servers."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lanscribe.config import AuthSettings
from lanscribe.doorkeeper import Doorkeeper, configured_key, refusal_of
from lanscribe.engines.fake import spoken
from lanscribe.errors import ConfigError
from tests.conftest import Server, StartServer
from tests.support import client

KEY = "a-key-of-the-tests"
MODEL = "fake-numbers"
HOME, WORLD = "192.168.1.7", "203.0.113.9"


class Guest:
    """An endpoint that remembers whom it served."""

    def __init__(self) -> None:
        self.scope: Scope | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await receive()
            await send({"type": "websocket.accept"})


def ask(
    auth: AuthSettings, peer: str, kind: str = "http", path: str = "/", **headers: str
) -> tuple[int, dict[str, Any], Guest]:
    """Knock once: the HTTP status (101 for an accepted WebSocket), the JSON body, the guest."""
    guest, sent = Guest(), list[Message]()

    async def receive() -> Message:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    names = {"host": "192.168.1.2:8000", **headers}
    scope = {
        "type": kind,
        "path": path,
        "query_string": b"",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in names.items()
        ],
        "client": (peer, 5),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    asyncio.run(Doorkeeper(guest, auth)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0].get("status", 101), json.loads(body or b"{}"), guest


def auth(mode: str = "lan", **settings: Any) -> AuthSettings:
    return AuthSettings.model_validate({"mode": mode, "key": SecretStr(KEY), **settings})


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("mode", "peer", "headers", "outcome"),
    [
        ("lan", HOME, {}, ""),
        ("lan", HOME, {"authorization": "Bearer some-dummy"}, ""),
        ("lan", HOME, {"origin": "http://192.168.1.2:8000"}, ""),
        ("lan", HOME, {"origin": "https://evil.example"}, "not_allowed"),
        ("lan", HOME, {"host": "evil.example"}, "not_allowed"),
        ("lan", WORLD, {}, "not_allowed"),
        ("lan", WORLD, {"x_api_key": "wrong"}, "unauthorized"),
        ("lan", WORLD, {"x_api_key": KEY}, ""),
        ("lan", HOME, {"x_api_key": KEY, "origin": "https://page.example"}, ""),
        ("lan", WORLD, {"x_api_key": KEY, "host": "box.example"}, ""),
        ("lan", "127.0.0.1", {"x_forwarded_for": HOME}, "not_allowed"),
        ("lan", "127.0.0.1", {"x_forwarded_for": WORLD, "x_api_key": KEY}, ""),
        ("lan", HOME, {"forwarded": f"for={HOME}"}, "not_allowed"),
        ("lan", "127.0.0.1", {"x_real_ip": HOME}, "not_allowed"),
        ("lan", "127.0.0.1", {"x_real_ip": WORLD, "x_api_key": KEY}, ""),
        ("key", HOME, {}, "unauthorized"),
        ("key", "127.0.0.1", {"x_api_key": KEY[:-1]}, "unauthorized"),
        ("key", WORLD, {"authorization": f"Token {KEY}"}, ""),
        ("open", WORLD, {"origin": "https://page.example", "host": "x"}, ""),
    ],
)
def test_who_comes_in(
    kind: str, mode: str, peer: str, headers: dict[str, str], outcome: str
) -> None:
    status, body, guest = ask(auth(mode), peer, kind, **headers)
    assert body.get("error", {}).get("code", "") == outcome
    expected = {"": 200 if kind == "http" else 101, "not_allowed": 403, "unauthorized": 401}
    assert status == expected[outcome]
    assert (guest.scope is None) == bool(outcome)
    assert KEY not in json.dumps(body)


def test_without_a_key_strangers_have_no_way_in(tmp_path: Path) -> None:
    keyless = AuthSettings(key_file=str(tmp_path / "none"))
    for offered in ("", "None", KEY):
        assert ask(keyless, WORLD, x_api_key=offered)[0] in {401, 403}
    assert ask(keyless, HOME)[0] == 200


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_what_watches_over_the_server_needs_no_key(path: str) -> None:
    assert ask(auth("key"), HOME, path=path)[0] == 200
    assert ask(auth("key"), WORLD, path=path)[0] == 403


def test_behind_a_proxy_the_client_counts() -> None:
    behind = auth(proxies=["127.0.0.1"])
    assert ask(behind, "127.0.0.1", x_forwarded_for=WORLD)[0] == 403
    assert ask(behind, "127.0.0.1", x_forwarded_for=f"{HOME}, {WORLD}")[0] == 403
    assert ask(behind, "127.0.0.1", x_real_ip=HOME)[0] == 403
    status, _, guest = ask(behind, "127.0.0.1", x_forwarded_for=f"{WORLD}, {HOME}")
    assert status == 200
    assert guest.scope is not None
    assert guest.scope["client"] == (HOME, 5)


def test_a_protocol_that_says_it_itself_gets_the_reason() -> None:
    status, _, guest = ask(auth("key"), WORLD, "websocket", "/ws")
    assert status == 101
    assert guest.scope is not None
    refusal = refusal_of(guest.scope)
    assert refusal is not None
    assert (refusal.code, refusal.close_code) == ("unauthorized", 1008)
    status, _, guest = ask(auth("key"), WORLD, "websocket", "/ws", x_api_key=KEY)
    assert guest.scope is not None
    assert refusal_of(guest.scope) is None
    assert ask(auth("key"), WORLD, "http", "/ws")[0] == 401


def test_key_mode_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"setup\.sh") as caught:
        configured_key(AuthSettings(mode="key", key_file=str(tmp_path / "none")))
    assert str(tmp_path / "none") in caught.value.public_message


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(server.http_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_server_with_a_key_keeps_it_to_itself(start_server: StartServer, locked: Path) -> None:
    server = start_server(
        "fake",
        *("--auth", "key", "--log-level", "debug"),
        LANSCRIBE_AUTH_KEY_FILE=str(locked),
    )
    assert any(str(locked) in line for line in server.banner)
    assert get(server, "/v1/models")[0] == 401
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
        assert get(server, "/v1/models", **headers)[0] == 200
    assert get(server, f"/v1/models?api_key={KEY}")[0] == 200
    assert get(server, "/health")[0] == 200

    async def converse() -> None:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(server.url):
                pass
        assert caught.value.response.status_code == 401
        assert json.loads(caught.value.response.body)["error"]["code"] == "unauthorized"
        async with client(f"{server.url}?api_key={KEY}", MODEL) as one:
            assert (await one.transcribe(spoken([1, 2])))["text"] == "1 2"
        for offered, chosen in (
            (["realtime", f"openai-insecure-api-key.{KEY}"], "realtime"),
            (["token", KEY], "token"),
        ):
            subprotocols = [Subprotocol(name) for name in offered]
            async with client(server.url, MODEL, subprotocols=subprotocols) as one:
                assert one.connection.subprotocol == chosen

    asyncio.run(converse())
    server.stop()
    log_file = Path(server.environment["LANSCRIBE_LOG_FILE"]).read_text(encoding="utf-8")
    assert "turned away" in log_file
    assert KEY not in log_file + server.log + "\n".join(server.banner)


def test_an_alias_brings_the_key_and_the_bound(start_server: StartServer) -> None:
    server = start_server(
        "fake", "--auth", "key", VOXTRAL_API_KEY=KEY, MAX_CONCURRENT_CONNECTIONS="3"
    )
    assert get(server, "/v1/models", **{"X-API-Key": KEY})[0] == 200
    assert get(server, "/health")[1]["capacity"] == 3
