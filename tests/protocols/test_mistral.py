"""Mistral's own client (mistralai) against real servers, and the rows that two plugins send."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
import soundfile
import soxr  # type: ignore[import-untyped]
from mistralai.client import Mistral
from mistralai.client.models import (
    AudioFormat,
    RealtimeTranscriptionError,
    RealtimeTranscriptionSessionCreated,
    RealtimeTranscriptionSessionUpdated,
    TranscriptionStreamDone,
    TranscriptionStreamLanguage,
    TranscriptionStreamSegmentDelta,
    TranscriptionStreamTextDelta,
)
from mistralai.extra.exceptions import RealtimeTranscriptionWSError
from mistralai.extra.realtime import RealtimeConnection, UnknownRealtimeEvent
from mistralai.extra.realtime.connection import RealtimeEvent

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.protocols.mistral_driver import PATH, MistralDriver, mistral_speaker
from tests.protocols.record import Ran
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, Refused, counting, words

SAID = "ever tried ever failed no matter try again fail again fail better"
MODEL = "voxtral-mini-transcribe-realtime-2602"
"""What the plugins ask for unless told otherwise."""
PCM16 = AudioFormat(encoding="pcm_s16le", sample_rate=16_000)
SUBTYPES = {
    "pcm_s16le": "PCM_16",
    "pcm_s32le": "PCM_32",
    "pcm_f32le": "FLOAT",
    "pcm_mulaw": "ULAW",
    "pcm_alaw": "ALAW",
}
"""libsndfile's names."""


def text_of(events: Sequence[RealtimeEvent]) -> str:
    return "".join(e.text for e in events if isinstance(e, TranscriptionStreamTextDelta))


def done_of(events: Sequence[RealtimeEvent]) -> TranscriptionStreamDone:
    (done,) = [event for event in events if isinstance(event, TranscriptionStreamDone)]
    return done


def format_of(encoding: str, rate_hz: int) -> AudioFormat:
    return AudioFormat.model_validate({"encoding": encoding, "sample_rate": rate_hz})


async def chunks(audio: bytes, chunk_bytes: int) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), chunk_bytes):
        yield audio[start : start + chunk_bytes]


async def send(connection: RealtimeConnection, audio: bytes, chunk_bytes: int) -> None:
    async for chunk in chunks(audio, chunk_bytes):
        await connection.send_audio(chunk)


async def connect(server: Server, **options: object) -> RealtimeConnection:
    client = Mistral(api_key="none", server_url=server.http_url)
    return await client.audio.realtime.connect(**({"model": MODEL} | options))  # type: ignore[arg-type]


class Listener:
    """Reads a connection; nothing that it hears is unknown to Mistral's client."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self._events = connection.events()

    async def until_done(self) -> list[RealtimeEvent]:
        """Everything up to the next transcription.done."""
        events: list[RealtimeEvent] = []
        while not (events and isinstance(events[-1], TranscriptionStreamDone)):
            event = await asyncio.wait_for(anext(self._events), DEADLINE_S)
            assert not isinstance(event, UnknownRealtimeEvent | RealtimeTranscriptionError), event
            events.append(event)
        return events

    async def rest(self) -> list[RealtimeEvent]:
        """What is still told before the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            return [event async for event in self._events]


def test_transcribe_stream_hears_speech(embedded_server: Server, ran: Ran) -> None:
    async def converse() -> list[RealtimeEvent]:
        client = Mistral(api_key="none", server_url=embedded_server.http_url)
        stream = client.audio.realtime.transcribe_stream(
            chunks(samples_to_pcm16(read_wave(sample_path())), 9_600),
            model=MODEL,
            audio_format=PCM16,
            target_streaming_delay_ms=960,
        )
        async with asyncio.timeout(DEADLINE_S):
            return [event async for event in stream]

    events = asyncio.run(converse())
    assert not [event for event in events if isinstance(event, UnknownRealtimeEvent)]
    created, updated, *rest = events
    assert isinstance(created, RealtimeTranscriptionSessionCreated)
    assert isinstance(updated, RealtimeTranscriptionSessionUpdated)
    assert created.session.model == "moonshine-base-en"
    assert updated.session.target_streaming_delay_ms == created.session.target_streaming_delay_ms
    assert isinstance(rest[0], TranscriptionStreamLanguage)
    done = done_of(rest)
    assert done is rest[-1]
    assert done.language == rest[0].audio_language == "en"
    assert words(done.text) == SAID.split()
    assert text_of(rest) == done.text
    assert sum(isinstance(event, TranscriptionStreamTextDelta) for event in rest) > 6
    ran("Mistral realtime", PATH, "mistralai", "a whole stream, by transcribe_stream")


@pytest.mark.parametrize(
    ("encoding", "rate_hz"),
    [
        ("pcm_s16le", 24_000),
        ("pcm_s32le", 48_000),
        ("pcm_f16le", 16_000),
        ("pcm_f32le", 44_100),
        ("pcm_mulaw", 8_000),
        ("pcm_alaw", 8_000),
    ],
)
def test_speech_in_every_encoding(embedded_server: Server, encoding: str, rate_hz: int) -> None:
    samples = soxr.resample(read_wave(sample_path()), 16_000, rate_hz)

    async def converse() -> str:
        audio_format = format_of(encoding, rate_hz)
        async with await connect(embedded_server, audio_format=audio_format) as connection:
            await send(connection, encoded(samples, encoding, rate_hz), 32_000)
            await connection.flush_audio()
            return done_of(await Listener(connection).until_done()).text

    heard = words(asyncio.run(converse()))
    assert len(set(SAID.split()) & set(heard)) >= 7  # of 8; a telephone costs a word


def encoded(samples: Samples, encoding: str, rate_hz: int) -> bytes:
    """Raw audio, by libsndfile where it knows the encoding."""
    if encoding == "pcm_f16le":
        return bytes(samples.astype("<f2"))
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate_hz, format="RAW", subtype=SUBTYPES[encoding])
    return sound.getvalue()


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_s32le", "pcm_f16le", "pcm_f32le"])
def test_every_sample_arrives_in_every_linear_encoding(fake_server: Server, encoding: str) -> None:
    async def converse() -> str:
        audio_format = format_of(encoding, 16_000)
        async with await connect(fake_server, audio_format=audio_format) as connection:
            await send(connection, encoded(spoken(range(1, 60)), encoding, 16_000), 20_000)
            await connection.flush_audio()
            return done_of(await Listener(connection).until_done()).text

    assert asyncio.run(converse()) == counting(range(1, 60))


def test_a_flush_brings_its_done_and_the_session_goes_on(fake_server: Server, ran: Ran) -> None:
    async def converse() -> None:
        async with await connect(fake_server) as connection:
            listener = Listener(connection)
            for start in (1, 51):
                await send(connection, samples_to_pcm16(spoken(range(start, start + 50))), 2_560)
                await connection.flush_audio()
                events = await listener.until_done()
                assert text_of(events) == done_of(events).text == counting(range(start, start + 50))
            await send(connection, samples_to_pcm16(spoken([7, 8])), 2_560)
            await connection.end_audio()  # and no flush
            assert done_of(await listener.rest()).text == "7 8"
            assert connection._websocket.close_code == 1000

    asyncio.run(converse())
    ran("Mistral realtime", PATH, "mistralai", "turns of its own, by flush_audio")


def test_times_are_those_of_the_stream(fake_server: Server) -> None:
    async def converse() -> None:
        async with await connect(fake_server) as connection:
            listener = Listener(connection)
            for _ in "12":
                await send(connection, samples_to_pcm16(spoken([1, 2])), 2_560)
                await connection.flush_audio()
            await listener.until_done()
            events = await listener.until_done()
        live = [event for event in events if isinstance(event, TranscriptionStreamSegmentDelta)]
        segments = done_of(events).segments or []
        assert [(s.text, s.end) for s in segments] == [("1", 0.24), ("2", 0.32)]
        assert all(0.16 <= (s.start or 0) < (s.end or 0) for s in segments)
        assert [(s.text, s.start, s.end) for s in live] == [
            (s.text, s.start, s.end) for s in segments
        ]
        assert done_of(events).usage.prompt_tokens == 2

    asyncio.run(converse())


def test_the_session_is_fixed_once_audio_has_come(fake_server: Server) -> None:
    async def converse() -> None:
        async with await connect(fake_server) as connection:
            assert connection.session.target_streaming_delay_ms == 80
            await connection.update_session(language="fr", diarize=True)
            await send(connection, samples_to_pcm16(spoken([1])), 2_560)
            await connection.update_session(language="en")
            events = connection.events()
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    if isinstance(event, RealtimeTranscriptionError):
                        break
            assert connection.session.language == "en"
            assert connection.session.diarize is False
            assert isinstance(event, RealtimeTranscriptionError)
            assert str(event.error.message).startswith(
                "Session fields cannot be changed after audio has started"
            )
            assert event.error.code == 409

    asyncio.run(converse())


def test_a_model_that_is_not_here_fails_the_connect(fake_server: Server) -> None:
    with pytest.raises(RealtimeTranscriptionWSError, match="this server has: fake-numbers"):
        asyncio.run(connect(fake_server, model="whisper-large"))


def test_a_full_server_fails_the_connect(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1})

    async def converse() -> None:
        async with await connect(server):
            with pytest.raises(RealtimeTranscriptionWSError, match="1 sessions run"):
                await connect(server)
            with pytest.raises(Refused) as caught:
                async with MistralDriver().connected(server):
                    pass
        assert caught.value.args == ("server_busy", 1013)

    asyncio.run(converse())


def test_what_livekits_plugin_sends(embedded_server: Server) -> None:
    """livekit-plugins-mistralai 1.8.9: no session.update; appends of 50 ms from one task, a flush
    from another when its voice detector hears the end of speech, at last a flush and an end.
    Its handshake has the headers of an HTTP client, with a second Connection line among them."""
    audio = samples_to_pcm16(read_wave(sample_path()))
    middle = 88 * 1_600  # 4.4 s, in a pause

    async def converse() -> list[RealtimeEvent]:
        headers = dict(httpx.Client().headers)
        assert headers["connection"] == "keep-alive"
        connection = await connect(embedded_server, http_headers=headers)
        listener = Listener(connection)
        reading = asyncio.create_task(listener.rest())
        await send(connection, audio[:middle], 1_600)
        await asyncio.create_task(connection.flush_audio())
        await send(connection, audio[middle:], 1_600)
        await connection.flush_audio()
        await connection.end_audio()
        return await reading

    events = asyncio.run(converse())
    assert not [event for event in events if isinstance(event, UnknownRealtimeEvent)]
    finals = [event for event in events if isinstance(event, TranscriptionStreamDone)]
    assert len(finals) == 2
    assert words(finals[0].text) == SAID.split()[:6]
    assert {"try", "again", "better"} <= set(words(finals[1].text))
    assert [round(final.usage.prompt_audio_seconds or 0) for final in finals] == [4, 6]
    assert all(final.language == "en" for final in finals)


def test_what_pipecats_service_sends(fake_server: Server) -> None:
    """pipecat-ai 1.14.0: a session.update with the format, appends of 20 ms, a flush whenever the
    user stops speaking, silence in between, and a close without an end."""

    async def converse() -> list[str]:
        connection = await connect(fake_server, audio_format=PCM16, target_streaming_delay_ms=None)
        listener = Listener(connection)
        texts = []
        for turn in ([1, 2, 3], [0, 0, 4, 5]):
            await send(connection, samples_to_pcm16(spoken(turn)), 640)
            await connection.flush_audio()
            texts.append(done_of(await listener.until_done()).text)
        await send(connection, samples_to_pcm16(spoken([0, 0])), 640)
        await connection.close()
        return texts

    assert asyncio.run(converse()) == ["1 2 3", "4 5"]


def test_a_plain_socket_speaks_it_too(fake_server: Server) -> None:
    async def converse() -> None:
        async with mistral_speaker(fake_server) as speaker:
            assert await speaker.send_nonsense() == "unknown_event"
            await speaker.say(spoken(range(1, 150)))
            deltas, text = await speaker.end()
        assert "".join(deltas) == text == counting(range(1, 150))

    asyncio.run(converse())
