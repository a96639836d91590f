"""A client that asks for another model gets one error, however much audio it sends after it."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import samples_to_pcm16
from tests.contract import received
from tests.servers import Server
from tests.support import DEADLINE_S, Event, client

AUDIO = base64.b64encode(samples_to_pcm16(spoken([1]))).decode()
OTHER = "whisper-large-v3"


async def told(socket: ClientConnection, dialect: str) -> tuple[list[Event], int | None]:
    """What the server says until it closes, and its close code."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        try:
            while True:
                events.append(received(dialect, await socket.recv()))
        except ConnectionClosed:
            return events, socket.close_code


def test_mistrals_client_gets_one_error_and_a_close(fake_server: Server) -> None:
    async def talk() -> tuple[list[Event], int | None]:
        base = fake_server.url.removesuffix("/v1/realtime")
        async with connect(f"{base}/v1/audio/transcriptions/realtime?model={OTHER}") as socket:
            return await told(socket, "mistral")

    (error,), close_code = asyncio.run(talk())
    assert error["error"]["type"] == "model_not_found"
    assert close_code == 1008


def test_vllms_client_may_choose_again_and_its_appends_get_no_error(fake_server: Server) -> None:
    async def talk() -> None:
        async with client(fake_server.url) as one:
            await one.select(OTHER)
            assert (await one.receive())["code"] == "model_not_found"
            for number in range(1, 20):
                await one.append(spoken([number]))
            await one.select("mistralai/Voxtral-Mini-4B-Realtime-2602")
            done = await one.transcribe(spoken([20]))
            assert done["text"] == " ".join(str(number) for number in range(1, 21))

    asyncio.run(talk())


@pytest.mark.parametrize("path", ["/ws", "/api/asr-streaming"])
def test_yaps_client_gets_one_error_and_its_text(fake_server: Server, path: str) -> None:
    def envelope(kind: str, request: str, **payload: Any) -> str:
        ids = {"session_id": "s", "request_id": request}
        return json.dumps({"type": kind, **ids, "payload": payload})

    async def talk() -> list[Event]:
        async with connect(fake_server.url.replace("/v1/realtime", path)) as socket:
            await socket.send(envelope("session.update", "u", model=OTHER))
            await socket.send(envelope("input_audio_buffer.commit", "r", final=False))
            for _ in range(5):
                await socket.send(envelope("input_audio_buffer.append", "r", audio=AUDIO))
            await socket.send(envelope("input_audio_buffer.commit", "r", final=True))
            await socket.send(envelope("end", "e"))
            return (await told(socket, "yap"))[0]

    events = asyncio.run(talk())
    errors = [event for event in events if event["type"] == "error"]
    assert [error["payload"]["reason_code"] for error in errors] == ["model_not_found"]
    assert [event["request_id"] for event in events if event["type"] == "transcription.done"] == [
        "r"
    ]
