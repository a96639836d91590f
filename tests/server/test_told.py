"""Nothing is passed over in silence: what was lost, why nothing was heard, that one is muted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from mistralai.extra.realtime import UnknownRealtimeEvent
from mistralai.extra.realtime.connection import parse_realtime_event
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
)
from pydantic import TypeAdapter
from wyoming.asr import Transcript, TranscriptChunk
from wyoming.event import Event

from lanscribe.config import ResumeSettings
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    DetectTurns,
    Done,
    Message,
    ServerEvent,
    SessionCreated,
    Utterance,
)
from lanscribe.dialects.mistral import MistralDialect
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.dialects.voxmlx import VoxmlxDialect
from lanscribe.dialects.wyoming import WyomingDialect
from lanscribe.dialects.yap import YapDialect
from lanscribe.engines.fake import FakeEngine, FakeSession, spoken
from lanscribe.session.bounds import Bounds
from lanscribe.session.conversation import Conversation
from lanscribe.session.state import Session
from lanscribe.speech import silence
from lanscribe.speech.audio import Samples, sample_count, samples_to_pcm16
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token
from lanscribe.speech.turns import TurnSettings
from lanscribe.tasks import Line
from tests.contract import contract, document

INFO = FakeEngine().describe()
START, END = Commit(is_final=False), Commit(is_final=True)
SILENCE = np.zeros(sample_count(2), dtype=np.float32)
TIMES, PART = ("start_s", "end_s"), ("start", "end")
DIALECTS: dict[str, tuple[Callable[[], Dialect], tuple[str, str], float]] = {
    "vllm": (lambda: VllmDialect(INFO), TIMES, 0.0),
    "yap": (lambda: YapDialect(INFO), TIMES, 0.0),
    "voxmlx": (lambda: VoxmlxDialect(INFO), TIMES, 0.0),
    "openai": (lambda: OpenAiDialect(INFO), PART, 0.0),
    "mistral": (lambda: MistralDialect(INFO), PART, 100.0),
    "wyoming": (lambda: WyomingDialect(INFO), PART, 0.0),
}
"""How each tells times, and where those of an utterance at 100 s begin."""


def fields_of(message: Message) -> dict[str, Any]:
    """What a message says, without its envelope."""
    if isinstance(message, bytes):
        header, _, data = message.partition(b"\n")
        fields: dict[str, Any] = json.loads(data or header)
        return fields
    fields = json.loads(message)
    inner: dict[str, Any] = fields.get("payload", fields)
    return inner


def said(name: str, *events: ServerEvent) -> list[dict[str, Any]]:
    """What a dialect says of these events, as the contract has it."""
    dialect = DIALECTS[name][0]()
    greeting = dialect.encode(SessionCreated("sess-" + 32 * "0", 5))
    del greeting
    messages = [message for event in events for message in dialect.encode(event)]
    for message in messages:
        if isinstance(message, str):
            contract(name).check("server", message)
    return [fields_of(message) for message in messages]


def test_no_protocol_is_left_out() -> None:
    assert set(DIALECTS) == {*document()["channels"], "wyoming"}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_protocol_tells_what_was_lost(name: str) -> None:
    _, (start, end), offset_s = DIALECTS[name]
    of = Utterance(1, "", 100.0)
    lost = (Span(1.25, 3.5), Span(7.0, 8.0001))
    told = said(
        name,
        Delta("", 3.5, lost=lost[0], of=of),
        Done("a", 9.0, 1, (), of, lost=lost),
    )
    one = {start: 1.25 + offset_s, end: 3.5 + offset_s}
    other = {start: 7.0 + offset_s, end: 8.0 + offset_s}
    assert [fields["lost"] for fields in told if "lost" in fields] == [[one], [one, other]]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("cause", [NoSpeech("zeros"), NoSpeech("quiet", -52.3)])
def test_every_protocol_tells_why_nothing_was_heard(name: str, cause: NoSpeech) -> None:
    (told,) = [
        fields["no_speech"]
        for fields in said(name, Done("", 9.0, 0, no_speech=cause))
        if "no_speech" in fields
    ]
    assert told["code"] == cause.cause
    assert told.get("level_dbfs") == cause.level_dbfs


@pytest.mark.parametrize("name", DIALECTS)
def test_every_protocol_tells_that_one_is_muted(name: str) -> None:
    told = said(name, Delta("", 9.0, is_muted=True))
    assert [fields["notice"] for fields in told if "notice" in fields] == ["zeros"]


@pytest.mark.parametrize("name", DIALECTS)
def test_when_there_is_nothing_to_tell_nothing_is_added(name: str) -> None:
    told = said(name, Delta("a", 1.0, start_s=0.5), Done("a", 9.0, 1))
    assert not any({"lost", "no_speech", "notice"} & set(fields) for fields in told)


def session(*events: ClientEvent) -> Session:
    one = Session(sample_count(60), LevelDetector())
    for event in events:
        one.receive(event, 0.0)
    return one


def done(one: Session, *tokens: Token) -> Done:
    while one.has_audio:
        one.take_audio()
    for token in tokens:
        one.heard(token)
    (event,) = one.completed()
    assert isinstance(event, Done)
    return event


def test_lost_audio_is_collected_where_the_engine_tells_of_it() -> None:
    one = session(START, AppendAudio(spoken([1] * 100)), END)
    lost = Token("", 3.0, start_s=1.0, is_lost=True)
    delta = one.heard(lost)
    assert (delta.text, delta.lost, delta.start_s, delta.end_s) == ("", Span(1.0, 3.0), None, 3.0)
    assert one.heard_s == 3.0
    event = done(one, Token("", 4.0, start_s=3.0, is_lost=True), Token("a", 5.0, start_s=4.5))
    assert event.lost == (Span(1.0, 4.0),)
    assert [word.text for word in event.words] == ["a"]


def test_why_nothing_was_said_is_told_of_a_whole_utterance_alone() -> None:
    audio = AppendAudio(SILENCE)
    assert done(session(START, audio, END)).no_speech == NoSpeech("zeros")
    assert done(session(START, audio, END), Token("a", 1.0, start_s=0.5)).no_speech is None
    assert done(session(END)).no_speech is None, "an empty commit"
    assert done(session(START, AppendAudio(SILENCE[:4000]), END)).no_speech is None, "a tap"
    lost = Token("", 2.0, start_s=0.0, is_lost=True)
    assert done(session(START, audio, END), lost).no_speech is None, "it was not listened to"


def test_a_turn_without_words_is_told_of_no_further() -> None:
    """The server made it an utterance, by a noise; nobody waits for its text."""
    clap = np.random.default_rng(0).normal(0, 0.2, sample_count(1)).astype(np.float32)
    one = session(DetectTurns(TurnSettings()))
    told = one.receive(AppendAudio(np.concatenate([SILENCE, clap, SILENCE])), 0.0)
    assert len(told) == 3, "it begins, it ends, it is committed"
    assert done(one).no_speech is None


class Lossy(FakeSession):
    """Passes over its second second."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        is_told = False
        async for token in super().__aiter__():
            if not 1.0 < token.end_s <= 2.0:
                yield token
            elif not is_told:
                is_told = True
                yield Token("", 2.0, start_s=1.0, is_lost=True)


class LossyEngine(FakeEngine):
    def session(self) -> FakeSession:
        return Lossy()


class Peer:
    """A client's end of a channel: what it sends, and what came."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = list(messages)
        self.came: list[dict[str, Any]] = []
        self._is_done = asyncio.Event()

    async def receive(self) -> Message | None:
        if self._messages:
            return self._messages.pop(0)
        await self._is_done.wait()
        return None

    async def send(self, message: Message) -> None:
        self.came.append(json.loads(message))
        if self.came[-1]["type"] == "transcription.done":
            self._is_done.set()

    async def close(self, code: int, reason: str) -> None:
        del code, reason


def talked(engine: FakeEngine, pieces: Sequence[Samples]) -> list[dict[str, Any]]:
    """What a client of vLLM's protocol that sends these pieces is told."""

    async def talk() -> list[dict[str, Any]]:
        commit = '{"type":"input_audio_buffer.commit","final":%s}'
        audio = [samples_to_pcm16(piece) for piece in pieces]
        update = '{"type":"session.update","model":"fake-numbers"}'
        peer = Peer([update, commit % "false", *audio, commit % "true"])
        served = Session(sample_count(300), LevelDetector())
        one = Conversation(VllmDialect(), engine, served, Bounds(), ResumeSettings(), Line())
        running = asyncio.create_task(one.run())
        async with asyncio.timeout(60):
            await one.attach(peer)
            await running
        return peer.came

    return asyncio.run(talk())


def test_a_client_hears_of_lost_audio_when_it_is_lost_and_at_the_end() -> None:
    came = talked(LossyEngine(), [spoken(range(1, 51))])
    lost = [{"start_s": 1.0, "end_s": 2.0}]
    assert [event["lost"] for event in came if "lost" in event] == [lost, lost]
    assert came[-1]["type"] == "transcription.done"


@pytest.mark.parametrize("is_live", [True, False])
def test_a_live_client_hears_that_it_is_muted(
    is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends faster than one speaks sends a recording: that may well have digital silence."""
    monkeypatch.setattr(silence, "MUTED_S", 0.5)
    zeros, sound = np.zeros(sample_count(0.7), dtype=np.float32), spoken([7] * 3)
    before = [] if is_live else [spoken([9] * 40)]
    came = talked(FakeEngine(), [*before, zeros, sound, sound, zeros])
    notices = [event for event in came if "notice" in event]
    assert [event["delta"] for event in notices] == ([""] * 2 if is_live else [])
    assert all(event["notice"] == "zeros" for event in notices)


TOLD_OF = Utterance(3, "", 100.0)
EXTRA: list[ServerEvent] = [
    Delta("", 3.5, of=TOLD_OF, lost=Span(1.0, 3.5)),
    Delta("", 3.5, of=TOLD_OF, is_muted=True),
    Delta("a", 4.0, start_s=3.7, of=TOLD_OF),
    Done("a", 9.0, 1, of=TOLD_OF, lost=(Span(1.0, 3.5),)),
    Done("", 9.0, 0, of=TOLD_OF, no_speech=NoSpeech("quiet", -60.0)),
]


def test_openais_client_takes_it() -> None:
    parsed = [parse_as_openai(fields) for fields in said("openai", *EXTRA)]
    assert [getattr(event, "delta", None) for event in parsed] == ["", "", "a", None, None]


def parse_as_openai(fields: dict[str, Any]) -> Any:
    kinds: dict[str, Any] = {
        "delta": ConversationItemInputAudioTranscriptionDeltaEvent,
        "completed": ConversationItemInputAudioTranscriptionCompletedEvent,
    }
    kind = kinds[fields["type"].rpartition(".")[2]]
    return TypeAdapter(kind).validate_python(fields)


def test_mistrals_client_takes_it() -> None:
    parsed = [parse_realtime_event(fields) for fields in said("mistral", *EXTRA)]
    assert not [event for event in parsed if isinstance(event, UnknownRealtimeEvent)]


def test_wyomings_client_takes_it() -> None:
    for fields in said("wyoming", *EXTRA):
        if "text" in fields:
            assert Transcript.from_event(Event("transcript", fields)).text == fields["text"]
            assert TranscriptChunk.from_event(Event("transcript-chunk", fields)).text is not None
