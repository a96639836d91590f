import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    Acknowledge,
    AppendAudio,
    Commit,
    Committed,
    Delta,
    Done,
    Failure,
    KeepForResume,
    Lost,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionResumed,
    SessionStopping,
    TellTentative,
    Utterance,
)
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.errors import CODES, EngineFailed, EngineUnavailable, LimitError, ProtocolError
from lanscribe.speech.captions import Word

DIALECT = VllmDialect()
INFO = FakeEngine().describe()
PCM = np.array([1, -2, 3], dtype="<i2").tobytes()


def encode(event: ServerEvent, dialect: VllmDialect = DIALECT) -> dict[str, Any]:
    (message,) = dialect.encode(event)
    payload = json.loads(message)
    assert isinstance(payload, dict)
    return payload


def append(audio: object) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ('{"type":"session.update","model":"m"}', Reply(())),
        ('{"type":"session.update","model":"m","extra":1}', Reply(())),
        ('{"type":"input_audio_buffer.commit"}', Commit(is_final=False)),
        ('{"type":"input_audio_buffer.commit","final":false}', Commit(is_final=False)),
        ('{"type":"input_audio_buffer.commit","final":true}', Commit(is_final=True)),
    ],
)
def test_client_events(message: str, event: object) -> None:
    dialect = VllmDialect()
    dialect.decode('{"type":"session.update","model":"m"}')
    assert list(dialect.decode(message)) == [event]


@pytest.mark.parametrize("commit", ['"final":false', '"final":true', '"other":1'])
def test_a_commit_needs_a_model_before_it(commit: str) -> None:
    """As with vLLM itself; audio before it is kept by the session."""
    dialect = VllmDialect(INFO)
    message = f'{{"type":"input_audio_buffer.commit",{commit}}}'
    for update in ("", '{"type":"session.update","model":"another"}'):
        if update:
            with pytest.raises(ProtocolError, match="this server has: fake-numbers"):
                dialect.decode(update)
        with pytest.raises(ProtocolError, match="before a model was chosen") as caught:
            dialect.decode(message)
        assert caught.value.code == "model_not_validated"
    assert len(dialect.decode(PCM)) == 1
    dialect.decode(json.dumps({"type": "session.update", "model": INFO.model}))
    assert len(dialect.decode(message)) == 1
    with pytest.raises(ProtocolError, match=r"Send session\.update with that name"):
        dialect.decode('{"type":"session.update","model":"another"}')
    assert len(dialect.decode(message)) == 1


@pytest.mark.parametrize(
    "message",
    [
        append(base64.b64encode(PCM).decode()),
        append("\n".join(base64.b64encode(PCM).decode())),
        PCM,
    ],
    ids=["base64", "base64 in lines", "binary"],
)
def test_audio_is_pcm16(message: str | bytes) -> None:
    (event,) = DIALECT.decode(message)
    assert isinstance(event, AppendAudio)
    assert event.samples.tolist() == [1 / 32768, -2 / 32768, 3 / 32768]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "invalid_json"),
        ("not json", "invalid_json"),
        ("[" * 100_000, "invalid_event"),
        ("[1]", "invalid_event"),
        ("null", "invalid_event"),
        ('"text"', "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type":7}', "invalid_event"),
        ('{"type":"session.close"}', "unknown_event"),
        ('{"type":"\\ud800"}', "unknown_event"),
        ('{"type":"session.update"}', "invalid_event"),
        ('{"type":"session.update","model":null}', "invalid_event"),
        ('{"type":"session.update","model":["m"]}', "invalid_event"),
        ('{"type":"input_audio_buffer.commit","final":"yes"}', "invalid_event"),
        ('{"type":"input_audio_buffer.append"}', "invalid_event"),
        (append(5), "invalid_event"),
        (append(""), "invalid_audio"),
        (append("not base64!"), "invalid_audio"),
        (append("AAAAA"), "invalid_audio"),
        (append("\u00e9" * 4), "invalid_audio"),
        (append("data:audio/wav,AAAA"), "invalid_audio"),
        (b"", "invalid_audio"),
    ],
)
def test_bad_messages_have_a_code_and_say_what_is_expected(message: str | bytes, code: str) -> None:
    with pytest.raises(ProtocolError, match=r"expected|needs|takes") as caught:
        DIALECT.decode(message)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("fields", "got"),
    [
        ({"model": None}, "null"),
        ({"model": {}}, "an object"),
        ({"model": ["m"]}, "an array"),
        ({"model": 7}, "a number"),
        ({"model": 0.5}, "a number"),
        ({"model": True}, "a boolean"),
    ],
)
def test_an_error_says_what_was_got(fields: dict[str, object], got: str) -> None:
    with pytest.raises(ProtocolError, match=f"^got {got} as 'model'; expected a string$"):
        DIALECT.decode(json.dumps({"type": "session.update", **fields}))


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"^the field 'model' is missing; expected a string$"):
        DIALECT.decode('{"type": "session.update"}')


@given(st.one_of(st.text(), st.binary()))
def test_no_message_raises_anything_else(message: str | bytes) -> None:
    _decode_or_refuse(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TYPES = st.sampled_from(
    ["session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "other"]
)


@given(TYPES, st.dictionaries(st.sampled_from(["model", "audio", "final", "resume", "seen"]), JSON))
def test_no_field_raises_anything_else(kind: str, fields: dict[str, object]) -> None:
    _decode_or_refuse(json.dumps({**fields, "type": kind}))


def _decode_or_refuse(message: str | bytes) -> None:
    try:
        DIALECT.decode(message)
    except ProtocolError as error:
        assert error.code in CODES
        for answer in DIALECT.encode(Failure(error)):
            assert isinstance(answer, str)
            answer.encode()


def test_server_events() -> None:
    dialect = VllmDialect()
    assert encode(SessionCreated("sess-1", 5), dialect) == {
        "type": "session.created",
        "id": "sess-1",
        "created": 5,
        "seq": 1,
    }
    assert encode(
        Delta(" né", 1.23456, start_s=1.10049, lag_s=0.50049, is_behind=True), dialect
    ) == {
        "type": "transcription.delta",
        "delta": " né",
        "start_s": 1.1,
        "end_s": 1.235,
        "lag_s": 0.5,
        "is_behind": True,
        "seq": 2,
    }
    assert encode(Done("a b", 1.0, 2, (Word("a", 0.12345, 0.2),)), dialect) == {
        "type": "transcription.done",
        "text": "a b",
        "usage": {"prompt_tokens": 13, "completion_tokens": 2, "total_tokens": 15},
        "duration_s": 1.0,
        "words": [{"word": "a", "start": 0.123, "end": 0.2}],
        "seq": 3,
    }
    assert encode(Failure(EngineFailed("broken"), Lost("a", 1.23456, 2.34567)), dialect) == {
        "type": "error",
        "error": "broken",
        "code": "processing_error",
        "text": "a",
        "lost": {"start_s": 1.235, "end_s": 2.346},
        "seq": 4,
    }
    assert encode(Delta("", 1.5), dialect) == {
        "type": "transcription.delta",
        "delta": "",
        "end_s": 1.5,
        "lag_s": 0.0,
        "seq": 5,
    }


def test_the_end_of_a_long_utterance_fits_into_a_message_of_a_mebibyte() -> None:
    words = (Word("misunderstanding", 10_000.123, 10_000.456),) * 10_001
    (hour,) = DIALECT.encode(Done("misunderstanding " * 10_000, 3600.0, 10_000, words[:-1]))
    assert 500_000 < len(hour) < 2**20
    assert len(json.loads(hour)["words"]) == 10_000
    assert encode(Done("misunderstanding", 3600.0, 10_001, words))["words"] == []


def test_a_client_is_told_that_the_server_stops() -> None:
    """The text that is owed still follows, so the message has its number."""
    dialect = VllmDialect()
    assert encode(SessionStopping(), dialect) == {"type": "session.stopping", "seq": 1}
    assert encode(Delta("a", 1.0), dialect)["seq"] == 2


def test_what_is_no_part_of_the_row_has_no_number() -> None:
    dialect = VllmDialect()
    resumed = encode(SessionResumed("sess-1", 160, 1), dialect)
    assert resumed == {
        "type": "session.resumed",
        "id": "sess-1",
        "received_samples": 160,
        "received_commits": 1,
    }
    assert "seq" not in encode(Failure(EngineUnavailable("loading")), dialect)
    assert dialect.encode(Committed(Utterance(), 0)) == []
    assert encode(Delta("a", 1.0), dialect)["seq"] == 1


def test_resuming_is_wished_for_and_events_are_acknowledged() -> None:
    update = '{"type":"session.update","model":"m","resume":true,"seen":7}'
    assert DIALECT.decode(update) == [Acknowledge(7), Reply(()), KeepForResume()]
    for seen in ("true", "null", '"1"', "1.5"):
        with pytest.raises(ProtocolError, match="expected a whole number"):
            DIALECT.decode(f'{{"type":"input_audio_buffer.commit","seen":{seen}}}')


def test_a_session_that_is_not_kept_offers_no_resuming() -> None:
    assert "resume" not in encode(SessionCreated("sess-1", 5, "token", 0.0))
    offered = encode(SessionCreated("sess-1", 5, "token", 60.0))
    assert offered["resume"] == {"token": "token", "keep_s": 60.0}


ASKS = {"type": "session.update", "model": INFO.model, "timestamp_granularities": ["segment"]}


def updated(dialect: VllmDialect, **fields: object) -> dict[str, Any]:
    """The answer to an update that asks for times."""
    (reply,) = dialect.decode(json.dumps({**ASKS, **fields}))
    assert isinstance(reply, Reply)
    (message,) = reply.messages
    told: dict[str, Any] = json.loads(message)
    return told


def test_a_wish_for_segments_is_answered_as_a_later_vllm_will() -> None:
    dialect = VllmDialect(INFO)
    assert updated(dialect) == {
        "type": "session.updated",
        "model": INFO.model,
        "timestamp_granularities": ["segment"],
        "seq": 1,
    }
    assert encode(Delta("a", 0.5, start_s=0.1), dialect)["segments"] == []
    assert encode(Delta(" b", 0.9, start_s=0.6), dialect)["segments"] == [{"text": "a", "end": 0.5}]
    done = Done("a b", 1.0, 2, (Word("a", 0.1, 0.5), Word("b", 0.6, 0.9)))
    ends = [{"text": "a", "end": 0.5}, {"text": " b", "end": 0.9}]
    assert encode(done, dialect)["segments"] == ends
    dialect.decode(json.dumps({"type": "session.update", "model": INFO.model}))
    assert "segments" not in encode(done, dialect)
    assert updated(dialect, timestamp_granularities=["word"])["seq"] == 6
    assert "segments" not in encode(done, dialect)


def test_what_failed_is_no_part_of_the_next_segment() -> None:
    dialect = VllmDialect(INFO)
    updated(dialect)
    encode(Delta("a", 0.5, start_s=0.1), dialect)
    assert "segments" not in encode(Failure(EngineFailed("broken")), dialect)
    assert "segments" not in encode(Failure(EngineFailed("broken"), Lost("a", 0.5, 0.9)), dialect)
    assert encode(Delta("b", 0.5, start_s=0.1), dialect)["segments"] == []


def test_the_answer_to_a_wish_has_the_true_name() -> None:
    assert updated(VllmDialect(INFO), model="")["model"] == INFO.model
    assert updated(VllmDialect(), model="any")["model"] == "any"


def test_a_model_that_is_refused_changes_nothing() -> None:
    dialect = VllmDialect(INFO)
    updated(dialect)
    with pytest.raises(ProtocolError, match="another"):
        dialect.decode(json.dumps({"type": "session.update", "model": "another"}))
    assert encode(Delta("a", 0.5, start_s=0.1), dialect)["segments"] == []


def test_after_a_wrong_granularity_the_model_has_to_be_chosen_again() -> None:
    dialect = VllmDialect(INFO)
    updated(dialect)
    with pytest.raises(ProtocolError, match="'line'") as caught:
        dialect.decode(json.dumps({**ASKS, "timestamp_granularities": ["line"]}))
    assert caught.value.code == "invalid_timestamp_granularity"
    with pytest.raises(ProtocolError, match="before a model was chosen"):
        dialect.decode('{"type":"input_audio_buffer.commit"}')
    updated(dialect)
    assert dialect.decode('{"type":"input_audio_buffer.commit"}') == [Commit(is_final=False)]


def test_a_refused_append_with_half_a_sample_can_be_sent_again() -> None:
    dialect, pcm = VllmDialect(), np.arange(1, 9, dtype="<i2").tobytes()
    parts = [dialect.decode(pcm[:3])]
    dialect.decode(pcm[3:8])
    dialect.encode(Failure(LimitError("audio_buffer_full", "refused")))
    parts += [dialect.decode(pcm[3:8]), dialect.decode(pcm[8:])]
    samples = [one.samples for part in parts for one in part if isinstance(one, AppendAudio)]
    assert (np.concatenate(samples) * 32_768).tolist() == list(range(1, 9))


def update(dialect: VllmDialect, **wishes: object) -> list[object]:
    """What a session.update with these fields asks of the session, beside its answer."""
    message = {"type": "session.update", "model": INFO.model, **wishes}
    return [event for event in dialect.decode(json.dumps(message)) if event != Reply(())]


def test_tentative_words_are_asked_for_and_revoked() -> None:
    dialect = VllmDialect(INFO)
    assert update(dialect) == []
    assert update(dialect, tentative=False) == []
    assert update(dialect, tentative=True, resume=True) == [KeepForResume(), TellTentative(True)]
    assert update(dialect, tentative=True) == [], "as it is already"
    assert update(dialect) == [TellTentative(False)]
    assert update(dialect, tentative=None) == []


@pytest.mark.parametrize("wish", [1, "true", [], {}])
def test_a_wish_for_tentative_words_is_a_boolean(wish: object) -> None:
    dialect = VllmDialect(INFO)
    with pytest.raises(ProtocolError, match="'tentative'; expected true or false") as caught:
        update(dialect, tentative=wish)
    assert caught.value.code == "invalid_event"
    assert update(dialect, tentative=True) == [TellTentative(True)]


def test_what_is_refused_does_not_revoke_the_wish() -> None:
    dialect = VllmDialect(INFO)
    update(dialect, tentative=True)
    for wrong in ({"model": "another"}, {"timestamp_granularities": ["line"]}, {"resume": 7}):
        with pytest.raises(ProtocolError):
            update(dialect, **wrong)
    assert update(dialect) == [TellTentative(False)]


def test_a_delta_tells_tentative_words_if_there_are_any() -> None:
    dialect = VllmDialect(INFO)
    told = encode(Delta(" a", 1.0, start_s=0.5, tentative=" né\n"), dialect)
    assert told["tentative"] == " né\n"
    assert "tentative" not in encode(Delta(" a", 1.0, start_s=0.5), dialect)
    updated(dialect)
    assert encode(Delta("", 1.5, tentative=" b"), dialect)["segments"] == []
