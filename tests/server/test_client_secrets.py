"""Ephemeral keys by OpenAI's interface: who gets one, and where it admits."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lanscribe.engines.fake import spoken
from lanscribe.server.client_secrets import MOST_BYTES
from lanscribe.speech.audio import samples_to_pcm16
from tests.protocols.record import Ran
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, Event, get_json

KEY = "a-key-of-the-tests"
PAGE = {"Origin": "https://page.example"}
KIND = "conversation.item.input_audio_transcription"
AUDIO_INPUT = {
    "format": {"type": "audio/pcm", "rate": 16_000},
    "transcription": {"model": "gpt-4o-transcribe"},
    "turn_detection": None,
}
SESSION = {"type": "transcription", "audio": {"input": AUDIO_INPUT}}


@pytest.fixture
def locked(serve_here: ServeHere) -> Server:
    return serve_here(auth={"mode": "key", "key": KEY})


def ask(server: Server, path: str = "client_secrets", **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"} | options.pop("headers", {})
    return httpx.post(f"{server.http_url}/v1/realtime/{path}", headers=headers, **options)


def secret(server: Server, **request: Any) -> str:
    return str(ask(server, json=request).json()["value"])


def status(server: Server, key: str, path: str = "/v1/realtime", **headers: str) -> int:
    """Of a WebSocket's handshake with this key; 101 for one that is accepted."""

    async def dial() -> int:
        url = server.url.replace("/v1/realtime", path)
        headers["Authorization"] = f"Bearer {key}"
        try:
            async with connect(url, additional_headers=headers) as socket:
                return 101 if await socket.recv() else 0
        except InvalidStatus as refusal:
            return refusal.response.status_code

    return asyncio.run(asyncio.wait_for(dial(), DEADLINE_S))


async def said(socket: ClientConnection, kind: str) -> Event:
    """The next message of this type."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            event: Event = json.loads(await socket.recv())
            assert event["type"] != "error"
            if event["type"] == kind:
                return event


def test_openais_client_makes_one_and_a_browser_uses_it(locked: Server, ran: Ran) -> None:
    """The settings that were given when it was made hold without an update."""
    with OpenAI(api_key=KEY, base_url=f"{locked.http_url}/v1") as openai:
        made = openai.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
    assert made.session.type == "transcription"
    effective = made.session.to_dict(warnings=False)["audio"]["input"]  # type: ignore[index]
    assert effective["transcription"]["model"] == "fake-numbers"
    assert effective["format"] == AUDIO_INPUT["format"]

    async def talk() -> str:
        subprotocols = [
            Subprotocol("realtime"),
            Subprotocol(f"openai-insecure-api-key.{made.value}"),
        ]
        async with connect(
            locked.url, subprotocols=subprotocols, additional_headers=PAGE
        ) as socket:
            assert socket.subprotocol == "realtime"
            updated = await said(socket, "session.updated")
            assert updated["session"]["audio"]["input"] == effective
            audio = base64.b64encode(samples_to_pcm16(spoken([1, 2, 3]))).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await socket.send('{"type":"input_audio_buffer.commit"}')
            return str((await said(socket, f"{KIND}.completed"))["transcript"])

    assert asyncio.run(talk()) == "1 2 3"
    ran("OpenAI realtime", "/v1/realtime/client_secrets", "openai", "ephemeral keys")


def test_openais_beta_client_makes_a_session(locked: Server, ran: Ran) -> None:
    with OpenAI(api_key=KEY, base_url=f"{locked.http_url}/v1") as openai:
        made = openai.beta.realtime.transcription_sessions.create(
            input_audio_format="g711_ulaw", turn_detection={"type": "server_vad"}
        )
    assert made.input_audio_format == "g711_ulaw"
    assert made.turn_detection is not None
    key = made.client_secret.value

    async def talk() -> None:
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "realtime=v1"}
        async with connect(locked.url, additional_headers=headers) as socket:
            updated = await said(socket, "transcription_session.updated")
            assert updated["session"]["input_audio_format"] == "g711_ulaw"
            assert updated["session"]["turn_detection"]["type"] == "server_vad"

    asyncio.run(talk())
    path = "/v1/realtime/transcription_sessions"
    ran("OpenAI realtime", path, "openai", "ephemeral keys of the beta")


def test_a_key_without_settings_leaves_the_protocol_open(locked: Server) -> None:
    answer = ask(locked).json()
    assert answer["value"].startswith("ek_")
    assert answer["session"]["type"] == "transcription"

    async def talk() -> None:
        url = f"{locked.url}?api_key={answer['value']}"
        async with connect(url) as socket:
            await socket.send('{"type":"session.update","model":""}')
            await socket.send(samples_to_pcm16(spoken([4])))
            await socket.send('{"type":"input_audio_buffer.commit","final":true}')
            assert (await said(socket, "transcription.done"))["text"] == "4"

    asyncio.run(talk())


def test_it_admits_once_and_to_realtime_alone(locked: Server) -> None:
    key = secret(locked)
    for path in ("/v1/models", "/openapi.json", "/health/"):
        code, body = get_json(f"{locked.http_url}{path}", **{"X-API-Key": key})
        assert (code, body["error"]["code"]) == (401, "unauthorized")
        assert "ephemeral key" in body["error"]["message"]
    more = httpx.post(f"{locked.http_url}/v1/realtime/client_secrets", headers={"X-API-Key": key})
    assert more.status_code == 401
    assert status(locked, key, **PAGE) == 101
    for _ in range(20):  # it is no guess, so its sender does not have to wait
        assert status(locked, key) == 401
    assert status(locked, KEY) == 101


def test_a_key_that_nobody_has_made_is_a_guess(locked: Server) -> None:
    statuses = [status(locked, f"ek_{number}") for number in range(8)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


@pytest.mark.parametrize("path", ["client_secrets", "transcription_sessions"])
def test_who_gets_one(serve_here: ServeHere, tmp_path: Path, path: str) -> None:
    """From home without an Origin, or with the key."""
    server = serve_here(auth={"mode": "lan", "key": KEY})
    url = f"{server.http_url}/v1/realtime/{path}"
    assert httpx.post(url).status_code == 200
    assert httpx.post(url, headers=PAGE).status_code == 403
    assert httpx.post(url, headers=PAGE | {"X-API-Key": KEY}).status_code == 200
    assert httpx.post(url, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(url, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403


@pytest.mark.parametrize("mode", ["lan", "open"])
def test_its_settings_hold_where_no_key_is_needed(serve_here: ServeHere, mode: str) -> None:
    server = serve_here(auth={"mode": mode})
    key = secret(server, session=SESSION)

    async def talk() -> None:
        async with connect(f"{server.url}?api_key={key}") as socket:
            updated = await said(socket, "session.updated")
            assert updated["session"]["audio"]["input"]["format"] == AUDIO_INPUT["format"]

    asyncio.run(talk())
    assert status(server, key) == 401


@pytest.mark.parametrize("seconds", [None, 5.0, 600])
def test_it_says_until_when_it_is_valid(locked: Server, seconds: float | None) -> None:
    after = {"anchor": "created_at"} | ({"seconds": seconds} if seconds else {})
    answers = [ask(locked, json={"expires_after": one}).json() for one in (after, {"seconds": 1})]
    assert answers[0]["expires_at"] - answers[1]["expires_at"] == pytest.approx(
        min(seconds or 60, 60) - 1, abs=2
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "an array"),
        (b'{"session":[]}', "got an array as 'session'"),
        (b'{"session":{"audio":{"input":{"format":{"rate":1}}}}}', "got 1 as format.rate"),
        (b'{"expires_after":5}', "got a number as 'expires_after'"),
        (b'{"expires_after":{"seconds":0}}', "expires_after.seconds: got 0"),
        (b'{"expires_after":{"seconds":"60"}}', "expires_after.seconds: got '60'"),
        (b" " * (MOST_BYTES + 1), "more than 16384 bytes"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    locked: Server, content: bytes, said: str
) -> None:
    answer = ask(locked, content=content)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_request_that_does_not_end_is_refused(serve_here: ServeHere) -> None:
    server = serve_here(limits={"handshake_timeout_s": 0.5})

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        head = (
            "POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        )
        writer.write(f"{head}\r\n{{".encode())
        try:
            return await asyncio.wait_for(reader.readuntil(b"\r\n"), DEADLINE_S)
        finally:
            writer.transport.abort()

    assert b" 408 " in asyncio.run(talk())


def test_translations_are_refused_by_name(fake_server: Server) -> None:
    answer = httpx.post(f"{fake_server.http_url}/v1/audio/translations", files={"file": b"RIFF"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "not_found"
    assert "does not translate: POST /v1/audio/transcriptions" in error["message"]
