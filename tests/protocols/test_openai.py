"""OpenAI's own client, and what LiveKit and Pipecat send, against real servers."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
import soxr  # type: ignore[import-untyped]
from openai import AsyncOpenAI
from openai.resources.beta.realtime.realtime import AsyncRealtimeConnection as BetaConnection
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from lanscribe.speech.audio import Samples
from tests.protocols.openai_driver import OpenAiDriver
from tests.protocols.record import Ran
from tests.protocols.sound import at_24_khz, spoken_at_24_khz
from tests.servers import Server
from tests.support import DEADLINE_S, counting, words

SAID = "ever tried ever failed no matter try again fail again fail better"
MOST_MISHEARD = 2
"""Of twelve words: resampling to another rate and back leaves the model another sound, and so does
a framework that cuts a turn a little earlier or later."""
MOST_LOST_OR_DOUBLED = 1
KIND = "conversation.item.input_audio_transcription"
CHUNK_BYTES = 2 * 24_000 // 10
Event = dict[str, Any]
DRIVER = OpenAiDriver()


def check_words(text: str) -> None:
    heard = jiwer.process_words(SAID, " ".join(words(text)))
    lost_or_doubled = heard.deletions + heard.insertions
    assert lost_or_doubled <= MOST_LOST_OR_DOUBLED, text
    assert heard.substitutions + lost_or_doubled <= MOST_MISHEARD, text


@asynccontextmanager
async def official(
    server: Server, **audio_input: Any
) -> AsyncIterator[tuple[AsyncRealtimeConnection, Event]]:
    """OpenAI's client, its session updated; the session that holds."""
    client = AsyncOpenAI(api_key="none", base_url=f"{server.http_url}/v1")
    async with (
        asyncio.timeout(DEADLINE_S),
        client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        assert (await connection.recv()).type == "session.created"
        session: Any = {"type": "transcription", "audio": {"input": audio_input}}
        await connection.session.update(session=session)
        updated = checked(await connection.recv())
        assert updated["type"] == "session.updated"
        yield connection, updated["session"]


def checked(event: Any) -> Event:
    """An event as a dictionary, when it is what OpenAI's own types say; raises otherwise."""
    fields: Event = event.to_dict()
    assert event.type == fields["type"]
    type(event).model_validate(fields)
    return fields


async def say(connection: AsyncRealtimeConnection | BetaConnection, data: bytes) -> None:
    for start in range(0, len(data), CHUNK_BYTES):
        audio = base64.b64encode(data[start : start + CHUNK_BYTES]).decode()
        await connection.input_audio_buffer.append(audio=audio)


async def until(connection: AsyncRealtimeConnection | BetaConnection, kind: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1]["type"] != kind:
        events.append(checked(await connection.recv()))
    return events


def test_openais_client_with_manual_commits(fake_server: Server, ran: Ran) -> None:
    async def converse() -> None:
        async with official(
            fake_server, transcription={"model": "gpt-realtime-whisper"}, turn_detection=None
        ) as (connection, session):
            assert session["audio"]["input"]["transcription"]["model"] == "fake-numbers"
            items: list[str | None] = [None]
            for start in (1, 101):
                await say(connection, spoken_at_24_khz(range(start, start + 100)))
                await connection.input_audio_buffer.commit()
                events = await until(connection, f"{KIND}.completed")
                by_type = {event["type"]: event for event in events}
                done = by_type[f"{KIND}.completed"]
                deltas = [event["delta"] for event in events if event["type"] == f"{KIND}.delta"]
                assert "".join(deltas) == done["transcript"] == counting(range(start, start + 100))
                assert done["usage"] == {"type": "duration", "seconds": 8.08}
                committed = by_type["input_audio_buffer.committed"]
                assert committed["previous_item_id"] == items[-1]
                assert by_type["conversation.item.done"]["item"]["id"] == committed["item_id"]
                assert {event["item_id"] for event in events if "delta" in event} == {
                    committed["item_id"]
                }
                items.append(committed["item_id"])

    asyncio.run(converse())
    ran("OpenAI realtime", "/v1/realtime", "openai", "commits of its own")


def test_openais_client_sees_its_errors(fake_server: Server) -> None:
    async def converse() -> None:
        async with official(fake_server) as (connection, _):
            await connection.input_audio_buffer.commit(event_id="empty")
            (told,) = await until(connection, "error")
            assert told["error"]["code"] == "input_audio_buffer_commit_empty"
            assert told["error"]["event_id"] == "empty"
            await connection.response.create(event_id="talk")
            (told,) = await until(connection, "error")
            assert (told["error"]["code"], told["error"]["event_id"]) == ("unknown_event", "talk")
            await say(connection, spoken_at_24_khz([1, 2]))
            await connection.input_audio_buffer.clear()
            await until(connection, "input_audio_buffer.cleared")
            await say(connection, spoken_at_24_khz([3, 4]))
            await connection.input_audio_buffer.commit()
            assert (await until(connection, f"{KIND}.completed"))[-1]["transcript"] == "3 4"

    asyncio.run(converse())


def test_openais_client_leaves_the_turns_to_the_server(
    embedded_server: Server, beckett: Samples, ran: Ran
) -> None:
    async def converse() -> None:
        silence = np.zeros(16_000, dtype=np.float32)
        async with official(embedded_server, turn_detection={"type": "server_vad"}) as (
            connection,
            session,
        ):
            assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
            await say(connection, at_24_khz(np.concatenate([silence, beckett, silence])))
            await connection.input_audio_buffer.commit()
            events = await until_no_turn(connection)
        check_words(said(events))
        check_turns(events)

    asyncio.run(converse())
    ran("OpenAI realtime", "/v1/realtime", "openai", "turns of the server")


async def until_no_turn(connection: AsyncRealtimeConnection) -> list[Event]:
    """Events up to the completion of an item that the client committed between two turns."""
    events: list[Event] = []
    while not events or events[-1]["item_id"] in started(events):
        events += await until(connection, f"{KIND}.completed")
    return events


def started(events: Sequence[Event]) -> set[str]:
    kind = "input_audio_buffer.speech_started"
    return {event["item_id"] for event in events if event["type"] == kind}


def said(events: Sequence[Event]) -> str:
    kind = f"{KIND}.completed"
    return " ".join(event["transcript"] for event in events if event["type"] == kind)


def check_turns(events: Sequence[Event]) -> None:
    """Each turn is started, stopped and committed once, in the order of its sound."""
    items = started(events)
    marks = [
        event
        for event in events
        if event["type"].startswith("input_audio_buffer.") and event["item_id"] in items
    ]
    assert len(marks) == 3 * len(items) > 3
    end_ms, previous = 0, None
    for begun, stopped, committed in zip(marks[0::3], marks[1::3], marks[2::3], strict=True):
        assert begun["audio_start_ms"] >= end_ms
        assert stopped["audio_end_ms"] > begun["audio_start_ms"]
        assert begun["item_id"] == stopped["item_id"] == committed["item_id"]
        assert committed["previous_item_id"] == previous
        end_ms, previous = stopped["audio_end_ms"], committed["item_id"]


@pytest.mark.parametrize(
    ("beta_format", "subtype"), [("g711_ulaw", "ULAW"), ("g711_alaw", "ALAW"), ("pcm16", None)]
)
def test_openais_beta_client(
    embedded_server: Server, beckett: Samples, beta_format: str, subtype: str | None, ran: Ran
) -> None:
    async def converse() -> None:
        client = AsyncOpenAI(
            api_key="none",
            base_url=f"{embedded_server.http_url}/v1",
            websocket_base_url=f"ws://{embedded_server.host}:{embedded_server.port}/v1",
        )
        async with (
            asyncio.timeout(DEADLINE_S),
            client,
            client.beta.realtime.connect(model="gpt-4o-transcribe") as connection,
        ):
            assert (await connection.recv()).type == "session.created"
            session: Any = {"input_audio_format": beta_format, "turn_detection": None}
            await connection.transcription_session.update(session=session)
            (updated,) = await until_beta(connection, "transcription_session.updated")
            assert updated["session"]["input_audio_format"] == beta_format
            await say(connection, g711(beckett, subtype) if subtype else at_24_khz(beckett))
            await connection.input_audio_buffer.commit()
            events = await until_beta(connection, f"{KIND}.completed")
            assert "conversation.item.created" in [event["type"] for event in events]
            check_words(events[-1]["transcript"])

    asyncio.run(converse())
    ran("OpenAI realtime", "/v1/realtime", "openai", "the beta's messages and formats")


@pytest.mark.parametrize("has_waited", [True, False])
def test_livekit_with_turns_of_the_server(
    embedded_server: Server, beckett: Samples, has_waited: bool
) -> None:
    """livekit-plugins-openai 1.8.9, STT(use_realtime=True, base_url=...), its own settings.

    It does not wait for the greeting. An error of any kind would end it.
    """

    async def converse() -> None:
        path = "?intent=transcription&model=gpt-4o-mini-transcribe"
        async with DRIVER.dialled(embedded_server, path) as one:
            if has_waited:
                await one.until("session.created")
            await one.configure(
                format={"rate": 24_000, "type": "audio/pcm"},
                transcription={"model": "gpt-4o-mini-transcribe", "language": "en"},
                turn_detection={
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 600,
                    "silence_duration_ms": 350,
                },
            )
            silence = np.zeros(16_000, dtype=np.float32)
            sound = at_24_khz(np.concatenate([beckett, silence]))
            for start in range(0, len(sound), 2400):
                await one.append(sound[start : start + 2400])
            events: list[Event] = []
            while len(said(events).split()) < len(SAID.split()) - 1:
                events += await one.until("transcription.completed")
        assert "error" not in [event["type"] for event in events]
        check_turns(events)

    asyncio.run(converse())


def test_livekit_and_pipecat_with_turns_of_their_own(fake_server: Server) -> None:
    """With gpt-realtime-whisper LiveKit does not mention turn_detection, and Pipecat (1.14.0,
    OpenAIRealtimeSTTService) says null; both commit when their own detector hears the end.
    """
    transcription = {"model": "gpt-realtime-whisper", "language": "en"}
    audio_format = {"type": "audio/pcm", "rate": 24_000}
    for turn_detection in ({}, {"turn_detection": None}):

        async def converse(turn_detection: Event = turn_detection) -> None:
            async with DRIVER.greeted(fake_server) as one:
                session = await one.configure(
                    format=audio_format, transcription=transcription, **turn_detection
                )
                assert session["audio"]["input"]["turn_detection"] is None
                for start in (1, 51):
                    await one.append(spoken_at_24_khz(range(start, start + 50)))
                    deltas, text = await one.end()
                    assert "".join(deltas) == text == counting(range(start, start + 50))

        asyncio.run(converse())


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["realtime", "openai-insecure-api-key.k"], "realtime"), (None, None)]
)
def test_a_browsers_subprotocol_is_taken(
    fake_server: Server, offered: list[Subprotocol] | None, chosen: str | None
) -> None:
    async def converse() -> None:
        async with connect(fake_server.url, subprotocols=offered) as connection:
            assert connection.subprotocol == chosen

    asyncio.run(converse())


async def until_beta(connection: BetaConnection, kind: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1]["type"] != kind:
        events.append((await connection.recv()).to_dict())
    return events


def g711(samples: Samples, subtype: str) -> bytes:
    """Speech as a telephone sends it, 8 kHz; libsndfile encodes it."""
    raw = io.BytesIO()
    soundfile.write(
        raw, soxr.resample(samples, 16_000, 8_000), 8_000, subtype=subtype, format="RAW"
    )
    return raw.getvalue()
