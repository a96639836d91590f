"""Turn detection through Mistral's own client, with real speech and the embedded engine."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import jiwer
import numpy as np
import pytest
from mistralai.client import Mistral
from mistralai.client.models import (
    RealtimeTranscriptionError,
    RealtimeTranscriptionSessionCreated,
    RealtimeTranscriptionSessionUpdated,
    TranscriptionStreamDone,
    TranscriptionStreamTextDelta,
    TurnDetectionConfig,
    TurnDetectionEagerEndEvent,
    TurnDetectionEndEvent,
    TurnDetectionResumeEvent,
    TurnDetectionStartEvent,
)
from mistralai.extra.realtime import UnknownRealtimeEvent
from mistralai.extra.realtime.connection import RealtimeEvent

from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.protocols.mistral_driver import PATH
from tests.protocols.record import Ran
from tests.protocols.recorder import recording
from tests.protocols.test_mistral import PCM16, SAID
from tests.servers import Server
from tests.support import DEADLINE_S, words

HUB_MODEL = "mistralai/Voxtral-Mini-4B-Realtime-2602"
PLUGIN_MODEL = "voxtral-mini-transcribe-realtime-3"
"""The default of livekit-plugins-mistralai from 1.8.10 on."""
WER_BOUND = 0.1
TURNS = (
    TurnDetectionStartEvent
    | TurnDetectionEagerEndEvent
    | TurnDetectionResumeEvent
    | TurnDetectionEndEvent
)


def room(seconds: float) -> Samples:
    """The noise of a quiet room."""
    generator = np.random.default_rng(3)
    return (0.0005 * generator.standard_normal(round(seconds * 16_000))).astype(np.float32)


async def converse(
    server: Server,
    chunks: AsyncIterator[bytes],
    *,
    model: str = PLUGIN_MODEL,
    turn_detection: TurnDetectionConfig | None = None,
) -> list[RealtimeEvent]:
    """Everything that a session tells, which sends only sound and an end; all by the contract."""
    config = turn_detection or TurnDetectionConfig()
    async with asyncio.timeout(2 * DEADLINE_S), recording(server) as recorder:
        client = Mistral(api_key="none", server_url=recorder.server.http_url)
        connection = await client.audio.realtime.connect(
            model=model, audio_format=PCM16, turn_detection=config
        )
        async with connection:
            reading = asyncio.create_task(_all_of(connection.events()))
            async for chunk in chunks:
                await connection.send_audio(chunk)
            await connection.end_audio()
            events = await reading
    recorder.check("mistral")
    return events


async def _all_of(events: AsyncIterator[RealtimeEvent]) -> list[RealtimeEvent]:
    return [event async for event in events]


async def pieces(audio: bytes, sizes: Sequence[int]) -> AsyncIterator[bytes]:
    start = 0
    while start < len(audio):
        size = sizes[start % len(sizes)]
        yield audio[start : start + size]
        start += size


def check_order(events: Sequence[RealtimeEvent]) -> list[str]:
    """The text of each turn; every event is one that the client knows, at its place.

    The end of the session is the only transcription.done, with the text of all turns.
    """
    assert not [
        event
        for event in events
        if isinstance(event, UnknownRealtimeEvent | RealtimeTranscriptionError)
    ]
    turns = [event for event in events if isinstance(event, TURNS)]
    times = [event.time_s for event in turns]
    assert times == sorted(times)
    allowed = {
        "turn.start": {"turn.eager_end", "turn.end"},
        "turn.eager_end": {"turn.resume", "turn.end"},
        "turn.resume": {"turn.eager_end", "turn.end"},
        "turn.end": {"turn.start"},
    }
    kinds = [str(event.type) for event in turns]
    assert all(after in allowed[before] for before, after in pairwise(kinds)), kinds
    assert kinds[:1] in ([], ["turn.start"])
    assert kinds[-1:] in ([], ["turn.end"])
    texts, text = list[str](), ""
    for event in events:
        match event:
            case TranscriptionStreamTextDelta():
                text += event.text
            case TurnDetectionEndEvent():
                texts.append(text)
                text = ""
    (done,) = (event for event in events if isinstance(event, TranscriptionStreamDone))
    assert done is events[-1]
    assert done.text == "".join(texts) + text
    return texts


def test_a_turn_is_ended_by_silence_with_no_flush(
    embedded_server: Server, beckett: Samples, ran: Ran
) -> None:
    """What livekit-plugins-mistralai from 1.8.10 on sends: turn detection at the defaults, chunks
    of 50 ms, no flush. It makes a final text of the deltas at turn.end."""
    audio = samples_to_pcm16(np.concatenate([room(0.5), beckett, room(3)]))
    events = asyncio.run(converse(embedded_server, pieces(audio, [1_600])))
    created, updated, *_ = events
    assert isinstance(created, RealtimeTranscriptionSessionCreated)
    assert isinstance(updated, RealtimeTranscriptionSessionUpdated)
    assert created.session.model == "moonshine-base-en"
    assert updated.session.turn_detection == TurnDetectionConfig(end_timeout_ms=3000)
    texts = check_order(events)
    assert len(texts) > 1
    assert words(" ".join(texts)) == SAID.split()
    reasons = {event.end_reason for event in events if isinstance(event, TurnDetectionEndEvent)}
    assert reasons == {"threshold"}
    ran("Mistral realtime", PATH, "mistralai", "turns of the server")


def test_a_client_that_stops_at_the_first_done_hears_every_turn(
    embedded_server: Server, beckett: Samples
) -> None:
    """What transcribe_stream does, with the turn detection that it passes on."""
    audio = samples_to_pcm16(np.concatenate([room(0.5), beckett, room(1)]))
    text = asyncio.run(stream(embedded_server, audio))
    assert words(text) == SAID.split()


async def stream(server: Server, audio: bytes) -> str:
    """The final text of a stream of Mistral's client, with turn detection."""
    client = Mistral(api_key="none", server_url=server.http_url)
    events = client.audio.realtime.transcribe_stream(
        pieces(audio, [6_400]),
        model=PLUGIN_MODEL,
        audio_format=PCM16,
        turn_detection=TurnDetectionConfig(),
    )
    async with asyncio.timeout(2 * DEADLINE_S):
        dones = [event async for event in events if isinstance(event, TranscriptionStreamDone)]
    (done,) = dones
    return done.text


def test_the_hubs_own_name_of_the_model_is_taken(embedded_server: Server, beckett: Samples) -> None:
    audio = samples_to_pcm16(np.concatenate([beckett[: round(1.7 * 16_000)], room(2)]))
    events = asyncio.run(converse(embedded_server, pieces(audio, [6_400]), model=HUB_MODEL))
    assert words("".join(check_order(events))) == SAID.split()[:2]


def test_an_end_within_a_turn_ends_it(embedded_server: Server, beckett: Samples) -> None:
    audio = samples_to_pcm16(beckett[: round(1.2 * 16_000)])
    events = asyncio.run(converse(embedded_server, pieces(audio, [3_200])))
    assert len(check_order(events)) == 1
    (end,) = [event for event in events if isinstance(event, TurnDetectionEndEvent)]
    assert end.end_reason == "timeout"
    assert end.time_s == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("seed", range(2))
def test_every_word_is_in_exactly_one_turn(
    embedded_server: Server, beckett: Samples, seed: int
) -> None:
    """Clips of whole phrases in any order with pauses between them, in messages of any size."""
    chosen = random.Random(seed)
    phrases = [beckett[round(a * 16_000) : round(b * 16_000)] for a, b in PHRASES]
    order = [chosen.randrange(len(phrases)) for _ in range(4)]
    parts = [room(chosen.uniform(0.2, 1))]
    for index in order:
        parts += [phrases[index], room(chosen.uniform(1.0, 2.0))]
    sizes = [2 * chosen.randint(1, 9_000) for _ in range(7)]
    audio = samples_to_pcm16(np.concatenate(parts))
    events = asyncio.run(converse(embedded_server, pieces(audio, sizes)))
    heard = " ".join(words(" ".join(check_order(events))))
    assert jiwer.wer(" ".join(SPOKEN[index] for index in order), heard) <= WER_BOUND
    check_times(events)


@pytest.mark.parametrize("seed", range(8))
def test_every_number_is_in_exactly_one_turn(fake_server: Server, seed: int) -> None:
    """The same without the errors of a model: loud tones that count, in messages of any size."""
    chosen = random.Random(seed)
    numbers, tape = iter(range(2000, 4000)), list[int]()
    for _ in range(6):
        tape += [next(numbers) for _ in range(chosen.randint(4, 30))]
        tape += [0] * chosen.randint(1, 20)
    sizes = [2 * chosen.randint(1, 9_000) for _ in range(7)]
    audio = samples_to_pcm16(spoken(tape))
    events = asyncio.run(converse(fake_server, pieces(audio, sizes)))
    texts = check_order(events)
    assert " ".join("".join(texts).split()) == " ".join(str(number) for number in tape if number)
    check_times(events)


def check_times(events: Sequence[RealtimeEvent]) -> None:
    """Turns have a length and do not overlap."""
    starts = [event.time_s for event in events if isinstance(event, TurnDetectionStartEvent)]
    ends = [event.time_s for event in events if isinstance(event, TurnDetectionEndEvent)]
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


PHRASES = ((0.0, 4.4), (4.4, 10.0))
"""Stretches of the recording between pauses, in seconds."""
SPOKEN = ("ever tried ever failed no matter", "try again fail again fail better")
