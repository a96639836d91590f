"""Who may come in: the doorkeeper by itself, for addresses that a test cannot have, and servers."""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lanscribe import PROJECT_DIR
from lanscribe.config import AuthSettings
from lanscribe.engines.fake import spoken
from lanscribe.errors import ConfigError
from lanscribe.server.doorkeeper import Doorkeeper, refusal_of
from lanscribe.server.key_check import configured_key
from tests.servers import ServeHere, StartServer
from tests.support import client, get_json

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
    guest = Guest()
    sent = knock(Doorkeeper(guest, auth), peer, kind, path, **headers)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0].get("status", 101), json.loads(body or b"{}"), guest


def knock(
    doorkeeper: Doorkeeper,
    peer: str,
    kind: str = "http",
    path: str = "/",
    *,
    method: str = "GET",
    scheme: str = "http",
    query: str = "",
    **headers: str,
) -> list[Message]:
    """Knock once: what is answered."""
    sent = list[Message]()

    async def receive() -> Message:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    names = {"host": "192.168.1.2:8000", **headers}
    scope = {
        "type": kind,
        "scheme": scheme,
        **({"method": method} if kind == "http" else {}),
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in names.items()
        ],
        "client": (peer, 5),
        "subprotocols": headers.pop("subprotocols", "").split(","),
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    asyncio.run(doorkeeper(scope, receive, send))
    return sent


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


def test_a_server_with_a_key_keeps_it_to_itself(start_server: StartServer, locked: Path) -> None:
    server = start_server(
        "fake",
        *("--auth", "key", "--log-level", "debug"),
        LANSCRIBE_AUTH_KEY_FILE=str(locked),
    )
    assert any(str(locked) in line for line in server.banner)
    assert get_json(f"{server.http_url}/v1/models")[0] == 401
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
        assert get_json(f"{server.http_url}/v1/models", **headers)[0] == 200
    assert get_json(f"{server.http_url}/v1/models?api_key={KEY}")[0] == 200
    assert get_json(f"{server.http_url}/health")[0] == 200

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
    server = start_server("fake", VOXTRAL_API_KEY=KEY, MAX_CONCURRENT_CONNECTIONS="3")
    assert any("only with the key in VOXTRAL_API_KEY" in line for line in server.banner)
    assert get_json(f"{server.http_url}/v1/models")[0] == 401
    assert get_json(f"{server.http_url}/v1/models", **{"X-API-Key": KEY})[0] == 200
    assert get_json(f"{server.http_url}/health")[1]["capacity"] == 3


class Clock:
    """Seconds that a test decides."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def status_of(doorkeeper: Doorkeeper, peer: str, kind: str = "http", **headers: str) -> int:
    return int(knock(doorkeeper, peer, kind, **headers)[0].get("status", 101))


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_who_guesses_has_to_wait_whatever_the_key(kind: str) -> None:
    clock = Clock()
    one = Doorkeeper(Guest(), auth("key"), clock=clock)
    statuses = [status_of(one, WORLD, kind, x_api_key=f"wrong-{number}") for number in range(6)]
    assert statuses == [401] * 6
    start, body = knock(one, WORLD, kind, x_api_key=KEY)
    assert start["status"] == 429
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert json.loads(body["body"])["error"]["code"] == "too_many_guesses"
    assert status_of(one, WORLD, kind) == 401, "nothing is guessed without a key"
    clock.now_s += 1
    expected = 200 if kind == "http" else 101
    assert status_of(one, WORLD, kind, x_api_key=KEY) == expected
    assert [status_of(one, WORLD, kind, x_api_key="wrong") for _ in range(20)] == [401] * 20
    assert status_of(one, WORLD, kind, x_api_key=KEY) == expected, "it is trusted for a day"


def test_also_where_a_refusal_is_told_on_the_socket() -> None:
    one = Doorkeeper(Guest(), auth("key"), clock=Clock())
    for number in range(6):
        assert knock(one, WORLD, "websocket", "/ws", x_api_key=f"wrong-{number}")
    assert knock(one, WORLD, "websocket", "/ws", x_api_key=KEY)[0]["status"] == 429


def test_at_home_no_key_is_a_guess() -> None:
    one = Doorkeeper(Guest(), auth("lan"), clock=Clock())
    assert [status_of(one, HOME, x_api_key=f"dummy-{number}") for number in range(50)] == [200] * 50
    page = {"origin": "https://evil.example"}
    for number in range(50):
        assert status_of(one, HOME, x_api_key=f"wrong-{number}", **page) in {401, 429}
    assert status_of(one, HOME, x_api_key=KEY, **page) == 429
    assert status_of(one, HOME, x_api_key=KEY) == 200, "who needs no key does not wait"


def test_behind_a_proxy_the_client_waits_and_not_the_others() -> None:
    behind = Doorkeeper(Guest(), auth("key", proxies=["127.0.0.1"]), clock=Clock())
    for number in range(6):
        assert status_of(behind, "127.0.0.1", x_api_key=f"w{number}", x_forwarded_for=WORLD) == 401
    assert status_of(behind, "127.0.0.1", x_api_key=KEY, x_forwarded_for=WORLD) == 429
    assert status_of(behind, "127.0.0.1", x_api_key=KEY, x_forwarded_for="203.0.113.10") == 200
    believed = Doorkeeper(Guest(), auth("key"), clock=Clock())
    for number in range(6):
        status_of(believed, WORLD, x_api_key=f"w{number}", x_forwarded_for=f"10.0.0.{number}")
    assert status_of(believed, WORLD, x_api_key=KEY) == 429, "nobody asked for X-Forwarded-For"


def test_many_keys_in_one_request_are_not_all_looked_at() -> None:
    one = Doorkeeper(Guest(), auth("key"), clock=Clock())
    offers = [f"openai-insecure-api-key.w{number}" for number in range(50)]
    scope_keys = [*offers, f"openai-insecure-api-key.{KEY}"]
    guessed: list[int] = []
    for _ in range(3):
        sent = knock(one, WORLD, "websocket", subprotocols=",".join(scope_keys))
        guessed.append(int(sent[0].get("status", 101)))
    assert guessed == [401, 401, 429]


@pytest.mark.parametrize("seed", range(60))
def test_no_row_of_requests_lets_a_guesser_in(seed: int) -> None:
    """A wrong key never opens; a paused address gets 429 for any key; trust ends no sooner."""
    rng, clock = random.Random(seed), Clock()
    one = Doorkeeper(Guest(), auth("key"), clock=clock)
    trusted_s, retry_s = dict.fromkeys([WORLD, HOME, "2001:db8::1"], -1e9), dict[str, float]()
    for _ in range(80):
        clock.now_s += rng.choice([0.0, 0.5, 5.0, 400.0, 40_000.0])
        peer, key = rng.choice([*trusted_s]), rng.choice([KEY, "wrong", "wrong too", ""])
        sent = knock(one, peer, **({"x_api_key": key} if key else {}))[0]
        status, why = sent["status"], f"seed {seed}, {peer}, {key!r}"
        assert status in {200, 401, 429}, why
        assert (status == 200) <= (key == KEY), why
        if not key:
            assert status == 401, why
        elif clock.now_s - trusted_s[peer] < 86_400:
            assert status == (200 if key == KEY else 401), why
        elif clock.now_s < retry_s.get(peer, 0) - 1:
            assert status == 429, why
        if status == 200:
            trusted_s[peer] = clock.now_s
            retry_s.pop(peer, None)
        if status == 429:
            retry_s[peer] = clock.now_s + float(dict(sent["headers"])[b"retry-after"])


def test_a_server_makes_a_guesser_wait(serve_here: ServeHere, locked: Path) -> None:
    server = serve_here(auth={"mode": "key", "key_file": str(locked)})
    models = f"{server.http_url}/v1/models"
    for number in range(6):
        assert get_json(models, **{"X-API-Key": f"wrong-{number}"})[0] == 401
    status, body = get_json(models, **{"X-API-Key": KEY})
    assert (status, body["error"]["code"]) == (429, "too_many_guesses")

    async def converse() -> int:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{server.url}?api_key={KEY}x"):
                pass
        assert caught.value.response.headers["Retry-After"].isdecimal()
        return caught.value.response.status_code

    get_json(f"{server.http_url}/v1/models", **{"X-API-Key": "wrong"})
    assert asyncio.run(converse()) == 429


@pytest.mark.slow
@pytest.mark.parametrize("place", ["LANSCRIBE_AUTH_KEY", "VOXTRAL_API_KEY"])
def test_a_short_key_ends_the_start(place: str) -> None:
    command = [sys.executable, "-m", "lanscribe", "check-config"]
    environment = {**os.environ, place: "short"}
    ended = subprocess.run(
        command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert f"{place}: got a key of 5 letters; expected at least 12" in ended.stderr


@pytest.mark.parametrize(
    ("proxies", "client", "status"),
    [
        (["127.0.0.1"], HOME, 200),
        (["127.0.0.1"], WORLD, 403),
        (["127.0.0.9"], HOME, 403),  # the headers of a proxy that nobody has listed
    ],
)
def test_a_proxy_on_this_machine_is_trusted_when_it_is_listed(
    serve_here: ServeHere, proxies: list[str], client: str, status: int
) -> None:
    server = serve_here(auth={"proxies": proxies})
    headers = {"X-Forwarded-For": client}
    answer = httpx.get(f"{server.http_url}/v1/models", headers=headers)
    assert answer.status_code == status
    if proxies != ["127.0.0.1"]:
        assert "the headers of a proxy from 127.0.0.1" in answer.text


def test_whoever_names_another_address_each_time_is_still_one_guesser(
    serve_here: ServeHere,
) -> None:
    server = serve_here(auth={"mode": "key", "key": KEY})
    statuses = [
        httpx.get(
            f"{server.http_url}/v1/models",
            headers={"X-Forwarded-For": f"192.168.1.{number}", "X-Api-Key": "wrong"},
        ).status_code
        for number in range(12)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429
