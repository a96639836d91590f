"""What the READMEs of three older servers have their users type, typed at this one.

They are the kit "Voxtral Mini 4B Realtime - Local Backend", Yap's Voxtral STT API, and voxmlx with
localvoxtral, the program for macOS that uses it.
"""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Data

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import samples_to_pcm16
from tests.clients.conftest import StartClient, StartMicrophone
from tests.clients.sound import SoundCard
from tests.clients.test_microphone_client import errors_per_word
from tests.contract import received
from tests.protocols.record import Ran
from tests.servers import Server, ServerProcess, start_process
from tests.support import DEADLINE_S, Event, words

SAID = "ever tried ever failed no matter try again fail again fail better"
KIT = "local-backend kit"
YAPS_EXPORTS = {
    "VOXTRAL_API_KEY": "secret_token",
    "MAX_CONCURRENT_CONNECTIONS": "100",
    "HF_TOKEN": "hf_your_token",
    "VOXTRAL_TRANSCRIPTION_DELAY_MS": "400",
    "WS_MAX_CONNECTION_DURATION_S": "5400",
    "WS_IDLE_TIMEOUT_S": "150",
    "WS_INBOUND_QUEUE_MAX": "256",
}
"""Its quick start, with the knobs that it recommends."""


def chunks(size_bytes: int) -> list[str]:
    """The sample recording, in base64."""
    pcm = samples_to_pcm16(read_wave(sample_path()))
    pieces = [pcm[start : start + size_bytes] for start in range(0, len(pcm), size_bytes)]
    return [base64.b64encode(piece).decode() for piece in pieces]


async def events(socket: ClientConnection, dialect: str) -> AsyncIterator[Event]:
    """What is told, by the contract of that dialect."""
    async with asyncio.timeout(DEADLINE_S):
        message: Data
        async for message in socket:
            event = received(dialect, message)
            assert isinstance(event, dict)
            yield event


# The kit.


async def send_as_in_dart(socket: ClientConnection) -> None:
    """sendAudioChunk with 100 ms at a time, and the end of its connection flow."""
    for audio in chunks(3200):
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))


async def listen_as_in_dart(server: Server) -> tuple[str, Event]:
    """The text of its deltas, and transcription.done."""
    partial = ""
    model = "mistralai/Voxtral-Mini-4B-Realtime-2602"
    async with connect(server.url) as socket, asyncio.TaskGroup() as tasks:
        async for data in events(socket, "vllm"):
            if data["type"] == "session.created":
                assert isinstance(data["id"], str)
                await socket.send(json.dumps({"type": "session.update", "model": model}))
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
                tasks.create_task(send_as_in_dart(socket))
            elif data["type"] == "transcription.delta":
                partial += data["delta"]
            else:
                assert data["type"] == "transcription.done"
                return partial, data
    raise AssertionError("the connection ended before the text")


def test_the_kits_flutter_client(embedded_server: Server, ran: Ran) -> None:
    partial, done = asyncio.run(listen_as_in_dart(embedded_server))
    assert words(done["text"]) == SAID.split()
    assert partial == done["text"]
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= done["usage"].keys()
    ran("vLLM realtime", "/v1/realtime", KIT, "its Flutter client, replayed")


def test_the_kits_test_with_a_file(
    embedded_server: Server, start_client: StartClient, ran: Ran
) -> None:
    """python test_file_transcribe.py --audio_path /path/to/audio.wav"""
    here = {"LANSCRIBE_URL": embedded_server.url}
    program = start_client("test_file_transcribe.py", "--audio_path", sample_path(), **here)
    assert program.wait() == 0, program.err.text
    assert words(program.out.text) == SAID.split()
    ran("vLLM realtime", "/v1/realtime", "test_file_transcribe.py", "the kit's command")


def test_the_kits_test_with_a_microphone(
    embedded_server: Server,
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    monkeypatch: pytest.MonkeyPatch,
    ran: Ran,
) -> None:
    """python stream_microphone.py, and Ctrl+C."""
    monkeypatch.setenv("LANSCRIBE_URL", embedded_server.url)
    program = start_microphone()
    sound_card.play(sample_path())
    program.out.wait_for("No matter.")
    program.interrupt()
    assert program.wait() == 0, program.err.text
    assert errors_per_word(program.out.text) < 0.2
    ran("vLLM realtime", "/v1/realtime", "stream_microphone.py", "the kit's command")


# Yap.


@pytest.fixture(scope="module")
def yap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """This server, started where Yap's variables are exported."""
    server = start_process(tmp_path_factory.mktemp("yap"), "embedded", [], YAPS_EXPORTS)
    yield server
    server.end()


def test_yaps_health_check(yap: Server) -> None:
    """curl -s http://localhost:8000/healthz"""
    command = ["curl", "-s", "--noproxy", "*", f"{yap.http_url}/healthz"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE_S)
    assert json.loads(done.stdout)["status"] == "ok"
    health = json.loads(done.stdout)
    assert 1 <= health["capacity"] <= 100


@pytest.mark.parametrize("path", ["/ws", "/api/asr-streaming"])
def test_yaps_quick_start(yap: Server, path: str, ran: Ran) -> None:
    async def converse() -> list[Event]:
        url = f"ws://{yap.host}:{yap.port}{path}?api_key=secret_token"
        async with connect(url) as socket:
            await socket.send(envelope("ping", "r1"))
            await socket.send(envelope("session.update", "r2", model=model))
            await socket.send(envelope("input_audio_buffer.commit", "utt-1", final=False))
            for audio in chunks(2560):
                await socket.send(envelope("input_audio_buffer.append", "utt-1", audio=audio))
            await socket.send(envelope("input_audio_buffer.commit", "utt-1", final=True))
            await socket.send(envelope("input_audio_buffer.commit", "utt-2", final=False))
            await socket.send(envelope("cancel", "utt-2", reason="client_request"))
            await socket.send(envelope("end", "r4"))
            told = [event async for event in events(socket, "yap")]
            assert socket.close_code == 1000
            return told

    model = "mistralai/Voxtral-Mini-4B-Realtime-2602"
    told = asyncio.run(converse())
    kinds = {(event["type"], event["request_id"]) for event in told}
    assert kinds == {
        ("session.created", "unknown"),
        ("pong", "r1"),
        ("session.updated", "r2"),
        ("transcription.delta", "utt-1"),
        ("transcription.done", "utt-1"),
        ("cancelled", "utt-2"),
        ("session_end", "r4"),
    }
    assert {event["session_id"] for event in told[1:]} == {"s1"}
    assert told[-1]["type"] == "session_end"
    deltas = [event["payload"]["delta"] for event in told if event["type"].endswith(".delta")]
    (done,) = [event["payload"] for event in told if event["type"] == "transcription.done"]
    assert words(done["text"]) == SAID.split()
    assert "".join(deltas) == done["text"]
    ran("Yap", path, "Yap's client", "its quick start, replayed")


def envelope(kind: str, request_id: str, **payload: str | bool) -> str:
    """A message as Yap's README writes it."""
    return json.dumps(
        {"type": kind, "session_id": "s1", "request_id": request_id, "payload": payload}
    )


@pytest.mark.parametrize("query", ["", "?api_key=another"])
def test_yaps_key_is_required_for_every_connection(yap: Server, query: str) -> None:
    async def converse() -> tuple[Event, int | None]:
        async with connect(f"ws://{yap.host}:{yap.port}/ws{query}") as socket:
            error = await anext(events(socket, "yap"))
            await asyncio.wait_for(socket.wait_closed(), DEADLINE_S)
            return error, socket.close_code

    error, close_code = asyncio.run(converse())
    assert (error["type"], error["payload"]["reason_code"]) == ("error", "unauthorized")
    assert close_code == 1008
    assert httpx.get(f"{yap.http_url}/v1/models", timeout=DEADLINE_S).status_code == 401


# voxmlx and localvoxtral.


def test_voxmlxs_flags_and_localvoxtral(tmp_path: Path, ran: Ran) -> None:
    """voxmlx --serve --port 8000 --host 127.0.0.1"""
    flags = ["--serve", "--auth", "key"]
    server = start_process(tmp_path, "embedded", flags, {"LANSCRIBE_AUTH_KEY": "the-api-key-typed"})
    try:
        partial, final = asyncio.run(dictate(server))
    finally:
        server.end()
    assert words(final) == SAID.split()
    assert partial == final
    ran("vLLM realtime", "/v1/realtime", "localvoxtral", "its dictation, replayed")


async def dictate(server: Server) -> tuple[str, str]:
    """As localvoxtral does: a commit after each 0.9 s, of which the first counts, and a final."""
    headers = {"Authorization": "Bearer the-api-key-typed", "OpenAI-Beta": "realtime=v1"}
    model = "T0mSIlver/Voxtral-Mini-4B-Realtime-2602-MLX-4bit"
    async with connect(server.url, additional_headers=headers) as socket:
        told = events(socket, "vllm")
        assert (await anext(told))["type"] == "session.created"
        await socket.send(json.dumps({"type": "session.update", "model": model}))
        for number, audio in enumerate(chunks(3200)):
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            if number % 9 == 8:
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))
        partial = ""
        async for event in told:
            if event["type"] == "transcription.done":
                return partial, event["text"]
            partial += event["delta"]
    raise AssertionError("the connection ended before the text")
