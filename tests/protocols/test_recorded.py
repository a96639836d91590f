"""What real client libraries and the server say to each other is in docs/asyncapi.yaml."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import soundfile
from mistralai.client import Mistral
from mistralai.client.models import AudioFormat
from openai import AsyncOpenAI

from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import samples_to_pcm16
from tests.protocols.recorder import Recorder, recording
from tests.servers import Server
from tests.support import DEADLINE_S, counting

NUMBERS = list(range(1, 60))
PCM = samples_to_pcm16(spoken(NUMBERS))
CHUNK_BYTES = 3200


async def chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(PCM), CHUNK_BYTES):
        yield PCM[start : start + CHUNK_BYTES]


def kinds(recorder: Recorder) -> set[str]:
    """Of the messages that passed."""
    (line,) = recorder.lines
    return {str(message).split('"type"')[1].split('"')[1] for _, message in line.said}


async def transcribe(server: Server, pcm: bytes, turns: Any) -> tuple[str, set[str]]:
    """What OpenAI's client hears at its last commit, and the kinds of messages that passed."""
    async with asyncio.timeout(DEADLINE_S), recording(server) as recorder:
        client = AsyncOpenAI(api_key="none", base_url=f"{recorder.server.http_url}/v1")
        query = {"intent": "transcription"}
        async with client, client.realtime.connect(extra_query=query) as connection:
            audio = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": turns}
            session: Any = {"type": "transcription", "audio": {"input": audio}}
            await connection.session.update(session=session)
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
            await connection.input_audio_buffer.clear()
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
            await connection.input_audio_buffer.commit(event_id="last")
            async for event in connection:
                if event.type == "conversation.item.input_audio_transcription.completed":
                    text = event.transcript
                    break
        recorder.check("openai")
        return text, kinds(recorder)


def test_openais_client(fake_server: Server) -> None:
    text, passed = asyncio.run(transcribe(fake_server, PCM, None))
    assert text == counting(NUMBERS)
    assert {"session.updated", "input_audio_buffer.cleared"} < passed


def test_openais_client_that_leaves_the_turns_to_the_server(embedded_server: Server) -> None:
    samples, _ = soundfile.read(sample_path(), dtype="int16")
    text, passed = asyncio.run(
        transcribe(embedded_server, samples.tobytes(), {"type": "server_vad"})
    )
    assert text
    assert {"input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"} < passed


def test_mistrals_client(fake_server: Server) -> None:
    async def converse() -> None:
        async with asyncio.timeout(DEADLINE_S), recording(fake_server) as recorder:
            client = Mistral(api_key="none", server_url=recorder.server.http_url)
            stream = client.audio.realtime.transcribe_stream(
                chunks(),
                model="voxtral-mini-transcribe-realtime-2602",
                audio_format=AudioFormat(encoding="pcm_s16le", sample_rate=16_000),
                target_streaming_delay_ms=960,
            )
            events = [event async for event in stream]
            assert getattr(events[-1], "text", None) == counting(NUMBERS)
            recorder.check("mistral")
            assert {"session.created", "session.updated", "transcription.done"} < kinds(recorder)

    asyncio.run(converse())
