import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Lost,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import CODES, EngineFailed, EngineUnavailable, ProtocolError
from lanscribe.speech.captions import Word
from lanscribe.speech.turns import TurnSettings
from tests.contract import received

INFO = EngineInfo("fake", "served", ("en",), word_times=True, max_session_s=None, capacity=1)
START, END = Commit(is_final=False), Commit(is_final=True, needs_audio=True)
ONE = Utterance(1)
SILENCE = bytes(2 * 2400)
Json = dict[str, Any]


def make() -> OpenAiDialect:
    dialect = OpenAiDialect(INFO, {"intent": "transcription"})
    dialect.encode(SessionCreated("sess-0123456789abcdef", 5))
    return dialect


def decode(dialect: OpenAiDialect, kind: str, **fields: object) -> list[ClientEvent]:
    return list(dialect.decode(json.dumps({"type": kind, **fields})))


def encode(dialect: OpenAiDialect, event: ServerEvent) -> list[Json]:
    """The payloads without their event_id, which is there and different in each."""
    payloads = [received("openai", message) for message in dialect.encode(event)]
    ids = [payload.pop("event_id") for payload in payloads]
    assert len(set(ids)) == len(ids)
    return payloads


def update(dialect: OpenAiDialect, **audio_input: object) -> tuple[list[ClientEvent], Json]:
    """The events but the reply, and the session object of session.updated."""
    session = {"type": "transcription", "audio": {"input": audio_input}}
    return split(decode(dialect, "session.update", session=session), "session.updated")


def split(events: list[ClientEvent], kind: str) -> tuple[list[ClientEvent], Json]:
    (reply,) = [event for event in events if isinstance(event, Reply)]
    (payload,) = [received("openai", message) for message in reply.messages]
    assert payload["type"] == kind
    return [event for event in events if event is not reply], payload["session"]


def append(dialect: OpenAiDialect, data: bytes) -> list[ClientEvent]:
    audio = base64.b64encode(data).decode()
    return decode(dialect, "input_audio_buffer.append", audio=audio)


def samples_in(events: list[ClientEvent]) -> int:
    return sum(len(event.samples) for event in events if isinstance(event, AppendAudio))


def test_an_update_is_answered_with_the_whole_session() -> None:
    events, session = update(make())
    assert events == []
    assert session == {
        "id": "sess-0123456789abcdef",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": None,
        "include": [],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": None,
                "transcription": {"model": "served", "language": "en", "prompt": None},
                "turn_detection": None,
            }
        },
    }


def test_what_cannot_be_done_is_answered_with_what_holds() -> None:
    _, session = update(
        make(),
        transcription={"model": "gpt-4o-transcribe", "language": "de", "prompt": "names"},
        noise_reduction={"type": "near_field"},
        turn_detection={"type": "semantic_vad", "eagerness": "low"},
    )
    audio_input = session["audio"]["input"]
    assert audio_input["transcription"] == {"model": "served", "language": "en", "prompt": None}
    assert audio_input["noise_reduction"] is None
    assert audio_input["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
    }


def test_an_update_changes_only_what_it_names() -> None:
    dialect = make()
    events, _ = update(
        dialect, format={"type": "audio/pcmu"}, turn_detection={"silence_duration_ms": 730}
    )
    assert events == [DetectTurns(TurnSettings(silence_s=0.75))]
    events, session = update(dialect, turn_detection={"threshold": 7, "prefix_padding_ms": 1e9})
    wanted = TurnSettings(threshold=1, prefix_padding_s=10, silence_s=0.75)
    assert events == [DetectTurns(wanted)]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 750
    assert update(dialect)[0] == []
    _, session = update(dialect, turn_detection={"silence_duration_ms": 0})
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 50
    assert update(dialect, turn_detection=None)[0] == [DetectTurns(None)]


def test_a_model_that_detects_turns_at_openai_does_so_here() -> None:
    dialect, model = make(), {"model": "whisper-1"}
    assert update(dialect, transcription=model)[0] == [DetectTurns(TurnSettings())]
    assert update(dialect, turn_detection=None)[0] == [DetectTurns(None)]
    assert update(dialect, transcription=model)[0] == []


def test_the_beta_has_flat_fields() -> None:
    dialect = make()
    session = {
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad"},
    }
    events = decode(dialect, "transcription_session.update", session=session)
    events, answer = split(events, "transcription_session.updated")
    assert events == [DetectTurns(TurnSettings())]
    assert answer["input_audio_format"] == "g711_alaw"
    assert answer["input_audio_transcription"]["model"] == "served"
    assert answer["turn_detection"]["type"] == "server_vad"
    committed = encode(dialect, Committed(ONE, 0))
    assert [payload["type"] for payload in committed][1:] == ["conversation.item.created"]
    assert samples_in([*append(dialect, bytes(800)), *decode(dialect, END_TYPE)]) == 1600


def test_the_betas_fields_may_stand_beside_the_type() -> None:
    """As the guide to the beta showed them."""
    events = decode(make(), "transcription_session.update", input_audio_format="g711_ulaw")
    _, answer = split(events, "transcription_session.updated")
    assert answer["input_audio_format"] == "g711_ulaw"


END_TYPE = "input_audio_buffer.commit"


def test_audio_is_24_khz_and_starts_the_utterance() -> None:
    dialect = make()
    events = append(dialect, SILENCE)
    assert events[0] == START
    ended = decode(dialect, END_TYPE)
    assert ended[-1] == END
    assert samples_in([*events, *ended]) == 1600
    assert append(dialect, b"") == []
    assert decode(dialect, END_TYPE) == [END]


@pytest.mark.parametrize(
    ("audio", "data", "count"),
    [
        ({"type": "audio/pcm", "rate": 16_000}, bytes(320), 160),
        ({"type": "audio/pcm", "rate": 48_000}, bytes(9600), 1600),
        ({"type": "audio/pcm"}, SILENCE, 1600),
        ({"rate": 16_000}, bytes(320), 160),
        (None, SILENCE, 1600),
        ({"type": "audio/pcmu"}, b"\xff" * 801, 1602),
        ({"type": "audio/pcma"}, b"\xd5" * 800, 1600),
        ("g711_ulaw", b"\xff" * 800, 1600),
    ],
)
def test_formats(audio: object, data: bytes, count: int) -> None:
    dialect = make()
    update(dialect, format=audio)
    events = [*append(dialect, data), *decode(dialect, END_TYPE)]
    assert abs(samples_in(events) - count) <= 1


def test_a_change_of_format_loses_nothing() -> None:
    dialect = make()
    events = append(dialect, SILENCE)
    changed, _ = update(dialect, format={"type": "audio/pcm", "rate": 16_000})
    assert samples_in([*events, *changed]) == 1600
    assert samples_in(append(dialect, bytes(20))) == 10


def test_with_turn_detection_the_server_starts_utterances() -> None:
    dialect = make()
    update(dialect, turn_detection={"type": "server_vad"})
    assert [type(event) for event in append(dialect, SILENCE)] == [AppendAudio]


def test_clear() -> None:
    dialect = make()
    append(dialect, SILENCE)
    assert decode(dialect, "input_audio_buffer.clear") == [Cancel()]
    assert decode(dialect, END_TYPE) == [END]
    assert encode(dialect, Cancelled(ONE)) == [{"type": "input_audio_buffer.cleared"}]


def test_a_clear_can_be_answered_without_an_utterance() -> None:
    dialect = make()
    answers = [received("openai", dialect.cleared()) for _ in range(2)]
    assert [answer["type"] for answer in answers] == 2 * ["input_audio_buffer.cleared"]
    assert answers[0]["event_id"] != answers[1]["event_id"]


def test_an_item_from_its_first_sound_to_its_last_word() -> None:
    dialect = make()
    item_id, two = "item_456789abcdef_2", Utterance(2, offset_s=0.9)
    assert encode(dialect, SpeechStarted(two, 0.9)) == [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 900, "item_id": item_id}
    ]
    assert encode(dialect, SpeechStopped(two, 2.35)) == [
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2350, "item_id": item_id}
    ]
    committed, added, done = encode(dialect, Committed(two, 1))
    assert committed == {
        "type": "input_audio_buffer.committed",
        "item_id": item_id,
        "previous_item_id": "item_456789abcdef_1",
    }
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["item"]["id"] == item_id
    kind = "conversation.item.input_audio_transcription"
    place = {"item_id": item_id, "content_index": 0}
    assert encode(dialect, Delta(" né", 1.0, of=two)) == [
        {"type": f"{kind}.delta", **place, "delta": " né"}
    ]
    assert encode(dialect, Delta("", 1.0, of=two)) == []
    assert encode(dialect, Done("a né", 1.2345, 2, (Word("a", 0.1, 0.2),), two)) == [
        {
            "type": f"{kind}.completed",
            **place,
            "transcript": "a né",
            "usage": {"type": "duration", "seconds": 1.234},
            "words": [{"word": "a", "start": 0.1, "end": 0.2}],
        }
    ]
    assert encode(dialect, Failure(EngineFailed("broken"), Lost("", 0, 1), two)) == [
        {
            "type": f"{kind}.failed",
            **place,
            "error": {
                "type": "server_error",
                "code": "processing_error",
                "message": "broken",
                "param": None,
            },
        }
    ]
    assert encode(dialect, SessionEnded()) == []


def test_the_first_item_has_no_predecessor() -> None:
    assert encode(make(), Committed(ONE, 0))[0]["previous_item_id"] is None


def test_an_error_names_the_message_it_answers() -> None:
    dialect = make()
    with pytest.raises(ProtocolError) as caught:
        decode(dialect, "response.create", event_id="mine")
    ((error,),) = [encode(dialect, Failure(caught.value))]
    assert error["type"] == "error"
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["code"] == "unknown_event"
    assert error["error"]["event_id"] == "mine"
    (error,) = encode(dialect, Failure(EngineUnavailable("loading")))
    assert error["error"]["event_id"] is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"pcm", "invalid_event"),
        ("{", "invalid_json"),
        ("[]", "invalid_event"),
        ('{"type":5}', "invalid_event"),
        ('{"type":"response.create"}', "unknown_event"),
        ('{"type":"session.update","session":5}', "invalid_event"),
        ('{"type":"session.update","session":{"audio":[]}}', "invalid_event"),
        ('{"type":"session.update","session":{"input_audio_format":"mp3"}}', "invalid_event"),
        ('{"type":"session.update","session":{"input_audio_format":5}}', "invalid_event"),
        ('{"type":"session.update","session":{"turn_detection":"on"}}', "invalid_event"),
        ('{"type":"session.update","session":{"turn_detection":{"type":"x"}}}', "invalid_event"),
        (
            '{"type":"session.update","session":{"turn_detection":{"threshold":NaN}}}',
            "invalid_event",
        ),
        ('{"type":"session.update","session":{"turn_detection":{"threshold":true}}}', ""),
        ('{"type":"session.update","session":{"audio":{"input":{"format":{"type":[]}}}}}', ""),
        ('{"type":"session.update","session":{"audio":{"input":{"format":{"rate":1}}}}}', ""),
        ('{"type":"input_audio_buffer.append"}', "invalid_event"),
        ('{"type":"input_audio_buffer.append","audio":"?"}', "invalid_audio"),
        ('{"type":"input_audio_buffer.append","audio":"AAAAA"}', "invalid_audio"),
    ],
)
def test_bad_messages_have_a_code(message: str | bytes, code: str) -> None:
    with pytest.raises(ProtocolError, match="expected") as caught:
        make().decode(message)
    assert caught.value.code == (code or "invalid_event")


def test_a_refused_update_changes_nothing() -> None:
    dialect = make()
    with pytest.raises(ProtocolError):
        update(dialect, format={"type": "audio/pcmu"}, turn_detection=5)
    assert update(dialect)[1]["audio"]["input"]["format"]["type"] == "audio/pcm"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TURNS = st.dictionaries(
    st.sampled_from(["type", "threshold", "prefix_padding_ms", "silence_duration_ms"]),
    JSON | st.sampled_from(["server_vad", "semantic_vad"]),
)
FORMATS = JSON | st.fixed_dictionaries(
    {"type": st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]), "rate": JSON}
)
INPUT = st.fixed_dictionaries({}, optional={"format": FORMATS, "turn_detection": TURNS | JSON})
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "session": JSON | st.fixed_dictionaries({"audio": st.fixed_dictionaries({"input": INPUT})}),
        "audio": JSON | st.binary().map(lambda data: base64.b64encode(data).decode()),
        "event_id": JSON,
    },
)
TYPES = st.sampled_from(
    ["session.update", "transcription_session.update", "other"]
    + [f"input_audio_buffer.{kind}" for kind in ("append", "commit", "clear")]
)


@settings(deadline=None)
@given(st.lists(st.tuples(TYPES, FIELDS), max_size=4))
def test_no_fields_raise_anything_else(messages: list[tuple[str, Json]]) -> None:
    dialect = make()
    for kind, fields in messages:
        decode_or_refuse(dialect, json.dumps({**fields, "type": kind}))


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_no_message_raises_anything_else(message: str | bytes) -> None:
    decode_or_refuse(make(), message)


def decode_or_refuse(dialect: OpenAiDialect, message: str | bytes) -> None:
    try:
        for event in dialect.decode(message):
            if isinstance(event, AppendAudio):
                assert np.isfinite(event.samples).all()
    except ProtocolError as error:
        assert error.code in CODES
        for answer in dialect.encode(Failure(error)):
            assert isinstance(answer, str)
