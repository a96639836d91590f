"""Mistral's codec by hand, and whatever bytes and JSON may come."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Finish,
    Reply,
    ServerEvent,
    SessionCreated,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.dialects.mistral import MAX_APPEND_BYTES, MistralDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.errors import (
    CODES,
    EngineFailed,
    EngineUnavailable,
    LanscribeError,
    ProtocolError,
)
from lanscribe.speech.captions import Word
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span

ENGINE = FakeEngine().describe()
START = [Commit(is_final=False)]
END = Commit(is_final=True, tag="flush")
SESSION = {
    "request_id": "sess-1",
    "model": "fake-numbers",
    "audio_format": {"encoding": "pcm_s16le", "sample_rate": 16_000},
    "target_streaming_delay_ms": 80,
    "diarize": False,
    "context_bias": None,
    "language": "en",
    "speaker_references": None,
    "turn_detection": None,
}


@pytest.fixture
def dialect() -> MistralDialect:
    dialect = MistralDialect(ENGINE, {"model": "fake-numbers"})
    dialect.encode(SessionCreated("sess-1", 5))
    return dialect


def append(audio: bytes) -> str:
    encoded = base64.b64encode(audio).decode()
    return json.dumps({"type": "input_audio.append", "audio": encoded})


def update(**session: object) -> str:
    return json.dumps({"type": "session.update", "session": session})


FLUSH = '{"type":"input_audio.flush"}'
FINISH = '{"type":"input_audio.end"}'
PCM = np.array([1, -2, 3], dtype="<i2").tobytes()


def told(dialect: MistralDialect, event: ServerEvent) -> list[dict[str, Any]]:
    return [json.loads(message) for message in dialect.encode(event)]


def kinds(events: list[ClientEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def updated(dialect: MistralDialect, **session: object) -> dict[str, Any]:
    (reply,) = dialect.decode(update(**session))
    assert isinstance(reply, Reply)
    (message,) = reply.messages
    answer = json.loads(message)
    assert answer["type"] == "session.updated"
    return dict(answer["session"])


def test_audio_starts_an_utterance_and_a_flush_ends_it(dialect: MistralDialect) -> None:
    *start, audio = dialect.decode(append(PCM))
    assert start == START
    assert isinstance(audio, AppendAudio)
    assert audio.samples.tolist() == [1 / 32768, -2 / 32768, 3 / 32768]
    assert kinds(list(dialect.decode(append(PCM)))) == ["AppendAudio"]
    rest, end = dialect.decode(FLUSH)
    assert isinstance(rest, AppendAudio)
    assert (len(rest.samples), end) == (0, END)
    assert dialect.decode(append(PCM))[:1] == START


def test_every_flush_has_its_done(dialect: MistralDialect) -> None:
    assert dialect.decode(FLUSH) == [*START, END]
    assert dialect.decode(FINISH) == [Finish()]


def test_an_end_without_a_flush_ends_the_utterance(dialect: MistralDialect) -> None:
    dialect.decode(append(PCM))
    rest, end, finish = dialect.decode(FINISH)
    assert isinstance(rest, AppendAudio)
    assert (end, finish) == (END, Finish())
    assert MistralDialect(ENGINE).decode(FINISH) == [*START, END, Finish()]


def test_an_end_ends_what_came_after_the_last_flush(dialect: MistralDialect) -> None:
    for message in (append(PCM), FLUSH, append(PCM)):
        dialect.decode(message)
    assert dialect.decode(FINISH)[-2:] == [END, Finish()]


def test_an_utterance_that_the_engine_failed_on_goes_on(dialect: MistralDialect) -> None:
    dialect.decode(append(PCM))
    (error,) = told(dialect, Failure(EngineFailed("broken"), None, Utterance()))
    assert error == {
        "type": "error",
        "error": {"message": "broken", "code": 500, "type": "processing_error"},
    }
    assert dialect.decode(append(PCM))[:1] == START
    dialect.encode(Failure(ProtocolError("invalid_json", "refused")))
    assert kinds(list(dialect.decode(append(PCM)))) == ["AppendAudio"]


def test_an_error_before_the_first_audio_takes_nothing_from_it(dialect: MistralDialect) -> None:
    dialect.encode(Failure(ProtocolError("invalid_json", "refused")))
    assert dialect.decode(append(PCM))[:1] == START


SERVERS_FAULT = {
    "processing_error",
    "engine_unavailable",
    "server_stopping",
    "internal",
    "storage_full",
}


@pytest.mark.parametrize("code", CODES)
def test_the_number_of_an_error_says_whose_fault_it_is(dialect: MistralDialect, code: str) -> None:
    """429 is for who may try again later, 5xx for what the client can do nothing about."""
    (error,) = told(dialect, Failure(LanscribeError(code, "message")))
    status = error["error"]["code"]
    if code in {"server_busy", "audio_buffer_full", "too_many_utterances"}:
        assert status == 429
    elif code in SERVERS_FAULT:
        assert 500 <= status < 600
    else:
        assert 400 <= status < 500
        assert status != 429


def test_a_session_tells_what_holds_whatever_was_wished() -> None:
    dialect = MistralDialect(ENGINE, {"model": "fake-numbers"})
    assert told(dialect, SessionCreated("sess-1", 5)) == [
        {"type": "session.created", "session": SESSION}
    ]
    wished = {
        "target_streaming_delay_ms": 960,
        "diarize": True,
        "language": "fr",
        "context_bias": ["Beckett"],
        "speaker_references": {"me": "AAAA"},
        "turn_detection": None,
    }
    assert updated(dialect, **wished) == SESSION
    wave = {"encoding": "pcm_f32le", "sample_rate": 44_100}
    assert updated(dialect, audio_format=wave) == {**SESSION, "audio_format": wave}
    assert updated(dialect) == {**SESSION, "audio_format": wave}


def test_turn_detection_is_answered_with_its_values_and_leaves_the_commits_to_the_server(
    dialect: MistralDialect,
) -> None:
    reply, detect = dialect.decode(update(turn_detection={"min_silence_ms": 300}))
    assert isinstance(reply, Reply)
    turns = json.loads(reply.messages[0])["session"]["turn_detection"]
    assert turns == {
        "start_threshold": 0.5,
        "eager_end_threshold": 0.5,
        "end_threshold": 0.33,
        "min_silence_ms": 300,
        "end_timeout_ms": 3000,
    }
    assert isinstance(detect, DetectTurns)
    assert detect.settings is not None
    assert detect.settings.silence_s == 0.3
    assert updated(dialect, language="en")["turn_detection"] == turns
    assert kinds(list(dialect.decode(append(PCM)))) == ["AppendAudio"]
    assert kinds(list(dialect.decode(FLUSH))) == ["AppendAudio", "Commit"]
    assert kinds(list(dialect.decode(append(PCM)))) == ["AppendAudio"]


def test_much_audio_is_searched_for_turns_a_piece_at_a_time(dialect: MistralDialect) -> None:
    second = append(bytes(32_000))
    assert kinds(list(dialect.decode(second))) == ["Commit", "AppendAudio"]
    other = MistralDialect(ENGINE)
    other.decode(update(turn_detection={}))
    assert kinds(list(other.decode(second))) == ["AppendAudio"] * 4


def test_turn_detection_can_be_turned_off_again(dialect: MistralDialect) -> None:
    dialect.decode(update(turn_detection={}))
    reply, detect = dialect.decode(update(turn_detection=None))
    assert isinstance(reply, Reply)
    assert json.loads(reply.messages[0])["session"] == SESSION
    assert detect == DetectTurns(None)
    assert dialect.decode(append(PCM))[:1] == START


def test_speakers_and_turns_exclude_each_other_over_updates(dialect: MistralDialect) -> None:
    updated(dialect, diarize=True)
    with pytest.raises(ProtocolError, match="not compatible with turn detection"):
        dialect.decode(update(turn_detection={}))
    updated(dialect, diarize=False)
    assert len(dialect.decode(update(turn_detection={}))) == 2


def test_a_turn_ends_with_its_text_or_its_error(dialect: MistralDialect) -> None:
    one, two = Utterance(1), Utterance(2)
    assert told(dialect, SpeechStarted(one, 0.5)) == [{"type": "turn.start", "time_s": 0.5}]
    assert told(dialect, SpeechStopped(one, 2.0)) == []
    assert told(dialect, Committed(one, 0)) == []
    assert [one["type"] for one in told(dialect, Done("a", 1.5, 1, of=one))] == ["turn.end"]
    told(dialect, SpeechStarted(two, 3.0))
    told(dialect, SpeechStopped(two, 4.0))
    ends = told(dialect, Failure(EngineFailed("broken"), None, two))
    assert [end["type"] for end in ends] == ["turn.end", "error"]


def test_an_end_tells_the_text_of_all_turns(dialect: MistralDialect) -> None:
    """A client that ends at the first transcription.done has all text, that of failed turns too."""
    said = ("one", "ten"), ("two", "broken"), ("three", "of")
    turns = [Utterance(number, "", 10.0 * number) for number in (1, 2, 3)]
    sent, dones = "", list[dict[str, Any]]()
    for of, texts in zip(turns, said, strict=True):
        told(dialect, SpeechStarted(of, of.offset_s))
        for text in texts:
            (delta,) = (
                one
                for one in told(dialect, Delta(text, 1.0, of=of))
                if one["type"] == "transcription.text.delta"
            )
            sent += delta["text"]
        told(dialect, SpeechStopped(of, of.offset_s + 2))
        told(dialect, Committed(of, of.number - 1))
        words = (Word(texts[0], 0.5, 1.0),)
        lost = (Span(1.0, 2.0),) if of.number == 3 else ()
        end = Done("".join(texts), 2.0, 2, words=words, of=of, lost=lost)
        failure = Failure(EngineFailed("broken"), None, of)
        ends = told(dialect, failure if of.number == 2 else end)
        dones += [one for one in ends if one["type"] == "transcription.done"]
    assert not dones
    rest = Utterance(4, "flush", 40.0)
    told(dialect, Committed(rest, 3))
    (done,) = told(dialect, Done("", 0.5, 0, of=rest, no_speech=NoSpeech("zeros")))
    assert done["text"] == sent == "oneten twobroken threeof"
    assert [(one["text"], one["start"]) for one in done["segments"]] == [
        ("one", 10.5),
        ("three", 30.5),
    ]
    assert done["usage"]["completion_tokens"] == 4
    assert done["usage"]["prompt_audio_seconds"] == 4
    assert done["lost"] == [{"start": 31.0, "end": 32.0}]
    assert "no_speech" not in done
    told(dialect, Committed(Utterance(5, "flush", 41.0), 4))
    (empty,) = told(dialect, Done("", 0.0, 0, of=Utterance(5, "flush", 41.0)))
    assert (empty["text"], empty["segments"]) == ("", [])
    assert "lost" not in empty


def test_a_session_cannot_be_changed_once_audio_has_come(dialect: MistralDialect) -> None:
    dialect.decode(append(PCM))
    message = "^Session fields cannot be changed after audio has started"
    with pytest.raises(ProtocolError, match=message) as caught:
        dialect.decode(update(language="en"))
    assert caught.value.code == "out_of_order"


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "audio"),
    [
        ("pcm_s16le", 8_000, np.zeros(8_000, "<i2")),
        ("pcm_s32le", 24_000, np.zeros(24_000, "<i4")),
        ("pcm_f16le", 16_000, np.zeros(16_000, "<f2")),
        ("pcm_f32le", 48_000, np.zeros(48_000, "<f4")),
        ("pcm_mulaw", 8_000, np.zeros(8_000, "u1")),
        ("pcm_alaw", 11_025, np.zeros(11_025, "u1")),
    ],
)
def test_a_second_is_a_second_in_every_encoding(
    dialect: MistralDialect, encoding: str, rate_hz: int, audio: np.ndarray[Any, Any]
) -> None:
    updated(dialect, audio_format={"encoding": encoding, "sample_rate": rate_hz})
    events = [*dialect.decode(append(audio.tobytes())), *dialect.decode(FLUSH)]
    samples = sum(len(event.samples) for event in events if isinstance(event, AppendAudio))
    assert abs(samples - 16_000) <= 1


def test_text_comes_with_its_language_and_its_times(dialect: MistralDialect) -> None:
    assert told(dialect, Delta("", 0.5)) == []
    assert told(dialect, Delta("né", 1.0, start_s=0.5)) == [
        {"type": "transcription.language", "audio_language": "en"},
        {"type": "transcription.text.delta", "text": "né"},
    ]
    assert told(dialect, Delta(" à", 1.0)) == [{"type": "transcription.text.delta", "text": " à"}]
    words = (Word("né", 0.5, 1.0), Word("à", 1.0, 1.25))
    segments = [
        {"text": "né", "start": 10.5, "end": 11.0},
        {"text": "à", "start": 11.0, "end": 11.25},
    ]
    assert told(dialect, Done("né à", 1.6, 2, words, Utterance(2, "", 10.0))) == [
        *({"type": "transcription.segment", **segment} for segment in segments),
        {
            "type": "transcription.done",
            "model": "fake-numbers",
            "text": "né à",
            "language": "en",
            "segments": [{"type": "transcription_segment", **segment} for segment in segments],
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 2,
                "total_tokens": 22,
                "prompt_audio_seconds": 2,
            },
        },
    ]
    assert told(dialect, Committed(Utterance(), 0)) == []


def test_an_engine_of_many_languages_does_not_say_which_it_heard() -> None:
    dialect = MistralDialect(replace(ENGINE, languages=("en", "fr")), {})
    assert len(told(dialect, Delta("a", 1.0))) == 1
    assert told(dialect, Done("a", 1.0, 1))[-1]["language"] is None
    assert updated(dialect)["language"] is None


@pytest.mark.parametrize("model", ["", "fake-numbers", "voxtral-mini-2602", "whisper-1"])
def test_mistrals_own_models_stand_for_the_one_served(model: str) -> None:
    dialect = MistralDialect(ENGINE, {"model": model})
    (created,) = told(dialect, SessionCreated("sess-1", 5))
    assert created["session"]["model"] == "fake-numbers"


def test_another_model_is_refused_at_once() -> None:
    dialect = MistralDialect(ENGINE, {"model": "other"})
    assert dialect.refusal is not None
    assert dialect.refusal.close_code == 1008
    (error,) = told(dialect, Failure(dialect.refusal))
    assert error["error"]["code"] == 404
    assert "'other'; this server has: fake-numbers" in error["error"]["message"]


def test_samples_that_are_no_numbers_are_refused(dialect: MistralDialect) -> None:
    dialect.decode(update(audio_format={"encoding": "pcm_f32le", "sample_rate": 16_000}))
    with pytest.raises(ProtocolError, match="not numbers; expected pcm_f32le") as caught:
        dialect.decode(append(np.array([np.nan], "<f4").tobytes()))
    assert caught.value.code == "invalid_audio"
    assert dialect.decode(append(bytes(4)))[:1] == START


def test_an_engine_that_loads_is_an_error() -> None:
    (error,) = told(MistralDialect(None, {"model": "m"}), Failure(EngineUnavailable("loading")))
    assert error["error"] == {"message": "loading", "code": 503, "type": "engine_unavailable"}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\0\0", "invalid_event"),
        ("", "invalid_json"),
        ("[" * 100_000, "invalid_event"),
        ("[1]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type":7}', "invalid_event"),
        ('{"type":"session.close"}', "unknown_event"),
        ('{"type":"session.update","session":[]}', "invalid_event"),
        (update(audio_format="pcm"), "invalid_event"),
        (update(audio_format={"encoding": "mp3", "sample_rate": 16_000}), "invalid_event"),
        (update(audio_format={"encoding": "pcm_s16le"}), "invalid_event"),
        (update(audio_format={"encoding": "pcm_s16le", "sample_rate": 9e3 + 0.5}), "invalid_event"),
        (update(audio_format={"encoding": "pcm_s16le", "sample_rate": 0}), "invalid_event"),
        (update(audio_format={"encoding": "pcm_s16le", "sample_rate": 10**999}), "invalid_event"),
        (update(target_streaming_delay_ms="480"), "invalid_event"),
        (update(diarize=1), "invalid_event"),
        (update(diarize=True, turn_detection={}), "invalid_event"),
        (update(turn_detection=[]), "invalid_event"),
        (update(turn_detection={"start_threshold": 1.5}), "invalid_event"),
        ('{"type":"input_audio.append"}', "invalid_event"),
        ('{"type":"input_audio.append","audio":"AAAAA"}', "invalid_audio"),
        (append(bytes(MAX_APPEND_BYTES + 2)), "invalid_audio"),
    ],
)
def test_bad_messages_have_a_code_and_say_what_is_expected(
    dialect: MistralDialect, message: str | bytes, code: str
) -> None:
    with pytest.raises(ProtocolError, match="expected") as caught:
        dialect.decode(message)
    assert caught.value.code == code
    assert dialect.decode(append(bytes(MAX_APPEND_BYTES)))[:1] == START


@given(st.one_of(st.text(), st.binary()))
def test_no_message_raises_anything_else(message: str | bytes) -> None:
    _decode_or_refuse(MistralDialect(ENGINE), message)


NUMBERS = st.integers() | st.floats() | st.sampled_from([8_000, 10**400])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ENCODINGS = st.sampled_from(["pcm_s16le", "pcm_f32le", "pcm_mulaw"])
FORMATS = st.fixed_dictionaries(
    {}, optional={"encoding": ENCODINGS | JSON, "sample_rate": NUMBERS | JSON}
)
SESSIONS = st.dictionaries(
    st.sampled_from(["language", "diarize", "target_streaming_delay_ms", "turn_detection"]), JSON
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "audio": st.binary().map(lambda audio: base64.b64encode(audio).decode()) | JSON,
        "session": st.builds(lambda a, b: {"audio_format": a, **b}, FORMATS, SESSIONS) | JSON,
    },
)
TYPES = ["session.update", "input_audio.append", "input_audio.flush", "input_audio.end", "other"]


@given(st.lists(st.tuples(st.sampled_from(TYPES), FIELDS), max_size=8))
def test_no_row_of_messages_raises_anything_else(rows: list[tuple[str, dict[str, Any]]]) -> None:
    dialect = MistralDialect(ENGINE)
    for kind, more in rows:
        _decode_or_refuse(dialect, json.dumps({**more, "type": kind}))


def _decode_or_refuse(dialect: MistralDialect, message: str | bytes) -> None:
    try:
        for event in dialect.decode(message):
            if isinstance(event, AppendAudio):
                assert np.isfinite(event.samples).all()
    except ProtocolError as error:
        assert error.code in CODES
        for answer in dialect.encode(Failure(error)):
            assert isinstance(answer, str)
            answer.encode()
