"""Yap's codec by hand, and whatever bytes and JSON may come."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    Done,
    Failure,
    Finish,
    Lost,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    Utterance,
)
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.yap import YapDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.errors import (
    CODES,
    EngineFailed,
    EngineUnavailable,
    LanscribeError,
    LimitError,
    ProtocolError,
)
from lanscribe.speech.captions import Word

PCM = np.array([1, -2, 3], dtype="<i2").tobytes()
AUDIO = base64.b64encode(PCM).decode()
UTTERANCE_R1 = Utterance(1, '["s","r1"]')


@pytest.fixture
def dialect() -> YapDialect:
    return YapDialect(FakeEngine().describe(), {})


def envelope(kind: str, request_id: str = "r1", **payload: object) -> str:
    return json.dumps(
        {"type": kind, "session_id": "s", "request_id": request_id, "payload": payload}
    )


def start(request_id: str = "r1") -> str:
    return envelope("input_audio_buffer.commit", request_id, final=False)


def finish(request_id: str = "r1") -> str:
    return envelope("input_audio_buffer.commit", request_id, final=True)


def append(request_id: str = "r1") -> str:
    return envelope("input_audio_buffer.append", request_id, audio=AUDIO)


def tag(request_id: str) -> str:
    return to_json(["s", request_id])


def parsed(messages: Sequence[Message]) -> dict[str, Any]:
    (message,) = messages
    assert isinstance(message, str)
    parsed = json.loads(message)
    assert parsed.keys() == {"type", "session_id", "request_id", "payload"}
    return dict(parsed)


def answer(events: Sequence[ClientEvent]) -> dict[str, Any]:
    """The one thing that the dialect answers by itself."""
    (reply,) = [event for event in events if isinstance(event, Reply)]
    return parsed(reply.messages)


def told(dialect: YapDialect, event: ServerEvent) -> dict[str, Any]:
    return parsed(dialect.encode(event))


def test_a_request_is_an_utterance(dialect: YapDialect) -> None:
    assert dialect.decode(start()) == [Commit(False, tag("r1"))]
    (event,) = dialect.decode(append())
    assert isinstance(event, AppendAudio)
    assert event.samples.tolist() == [1 / 32768, -2 / 32768, 3 / 32768]
    assert dialect.decode(finish()) == [Commit(True, tag("r1"))]


def test_the_next_request_ends_the_one_before(dialect: YapDialect) -> None:
    dialect.decode(start("r1"))
    assert dialect.decode(start("r2")) == [
        Commit(True, tag("r1")),
        Commit(False, tag("r2")),
    ]
    with pytest.raises(ProtocolError, match="'r1', but request 'r2' is being sent"):
        dialect.decode(append("r1"))
    assert len(dialect.decode(append("r2"))) == 1


def test_a_refused_end_leaves_the_request_open(dialect: YapDialect) -> None:
    dialect.decode(start())
    dialect.decode(finish())
    refused = Failure(LimitError("too_many_utterances", "64 wait"))
    assert told(dialect, refused)["request_id"] == "r1"
    assert dialect.decode(finish()) == [Commit(True, tag("r1"))]


@pytest.mark.parametrize("message", [append(), finish()])
def test_audio_and_its_end_need_a_start(dialect: YapDialect, message: str) -> None:
    with pytest.raises(ProtocolError, match="no request is being sent") as caught:
        dialect.decode(message)
    assert caught.value.code == "out_of_order"


def test_cancel_is_always_answered(dialect: YapDialect) -> None:
    dialect.decode(start())
    events = dialect.decode(envelope("cancel", reason="barge-in"))
    assert events[0] == Cancel(tag("r1"))
    assert answer(events) == {
        "type": "cancelled",
        "session_id": "s",
        "request_id": "r1",
        "payload": {"reason": "barge-in"},
    }
    assert dialect.encode(Cancelled(UTTERANCE_R1)) == []
    with pytest.raises(ProtocolError, match="no request is being sent"):
        dialect.decode(append())
    unknown = dialect.decode(envelope("cancel", "never heard of"))
    assert answer(unknown)["payload"] == {"reason": "client_request"}


def test_a_request_that_the_engine_failed_on_goes_on(dialect: YapDialect) -> None:
    dialect.decode(start())
    failure = Failure(EngineFailed("broken"), Lost("a b", 1.0, 2.0), UTTERANCE_R1)
    assert told(dialect, failure)["payload"] == {
        "code": "processing_error",
        "reason_code": "processing_error",
        "message": "broken",
        "text": "a b",
        "lost": {"start_s": 1.0, "end_s": 2.0},
    }
    again, audio = dialect.decode(append())
    assert again == Commit(False, tag("r1"))
    assert isinstance(audio, AppendAudio)
    assert dialect.decode(finish()) == [Commit(True, tag("r1"))]


def test_a_request_that_the_engine_failed_on_can_be_cancelled(dialect: YapDialect) -> None:
    dialect.decode(start())
    dialect.encode(Failure(EngineFailed("broken"), None, UTTERANCE_R1))
    events = dialect.decode(envelope("cancel"))
    assert list(events[:2]) == [Commit(False, tag("r1")), Cancel(tag("r1"))]


def test_ping_model_and_end_are_answered_with_their_ids(dialect: YapDialect) -> None:
    pong = answer(dialect.decode(envelope("ping", "p")))
    assert (pong["type"], pong["session_id"], pong["request_id"]) == ("pong", "s", "p")
    assert dialect.decode(envelope("pong")) == []
    events = dialect.decode(envelope("session.update", "u", model="whisper-1"))
    assert answer(events)["type"] == "session.updated"
    assert answer(events)["payload"] == {"model": "fake-numbers"}
    (reply,) = dialect.decode(envelope("session.update"))
    assert isinstance(reply, Reply)
    assert dialect.encode(SessionEnded()) == []
    assert dialect.decode(envelope("end", "e")) == [Finish()]
    assert told(dialect, SessionEnded())["request_id"] == "e"


def test_a_model_that_is_not_served_is_refused_and_the_request_goes_on(dialect: YapDialect) -> None:
    dialect.decode(start())
    with pytest.raises(
        ProtocolError, match=r"this server has: fake-numbers\. Send session"
    ) as caught:
        dialect.decode(envelope("session.update", "u", model="wished"))
    assert told(dialect, Failure(caught.value))["request_id"] == "u"
    assert dialect.decode(finish()) == [Commit(True, tag("r1"))]


def test_events_carry_the_ids_of_their_request(dialect: YapDialect) -> None:
    created = told(dialect, SessionCreated("sess-1", 5, "token", 60.0))
    assert (created["session_id"], created["request_id"]) == ("unknown", "unknown")
    assert created["payload"] == {"id": "sess-1", "created": 5}
    dialect.decode(start("r1"))
    dialect.decode(start("r2"))
    delta = told(dialect, Delta(" né", 1.25, start_s=1.0, of=UTTERANCE_R1))
    assert delta == {
        "type": "transcription.delta",
        "session_id": "s",
        "request_id": "r1",
        "payload": {"delta": " né", "start_s": 1.0, "end_s": 1.25, "lag_s": 0.0},
    }
    done = told(dialect, Done("a", 1.0, 1, (Word("a", 0.1, 0.2),), UTTERANCE_R1))
    assert done["request_id"] == "r1"
    assert done["payload"]["text"] == "a"
    assert done["payload"]["words"] == [{"word": "a", "start": 0.1, "end": 0.2}]
    assert dialect.encode(Committed(UTTERANCE_R1, 0)) == []


def test_errors_have_yaps_code_and_ours(dialect: YapDialect) -> None:
    busy = told(YapDialect(None, {}), Failure(LimitError("server_busy", "8 run")))
    assert busy["payload"] == {
        "code": "server_at_capacity",
        "reason_code": "server_busy",
        "message": "8 run",
    }
    assert (busy["session_id"], busy["request_id"]) == ("unknown", "unknown")
    dialect.decode(envelope("ping", "p"))
    loading = told(dialect, Failure(EngineUnavailable("loading")))
    assert (loading["session_id"], loading["request_id"]) == ("s", "unknown")
    assert loading["payload"]["code"] == "engine_unavailable"


@pytest.mark.parametrize(
    ("code", "yaps"),
    [
        ("unauthorized", "authentication_failed"),
        ("not_allowed", "authentication_failed"),
        ("internal", "internal_error"),
        ("idle_timeout", "idle_timeout"),
    ],
)
def test_an_app_knows_by_yaps_code_what_to_do(dialect: YapDialect, code: str, yaps: str) -> None:
    payload = told(dialect, Failure(LanscribeError(code, "message")))["payload"]
    assert payload == {"code": yaps, "reason_code": code, "message": "message"}


def test_what_cannot_be_read_is_no_part_of_the_request_before(dialect: YapDialect) -> None:
    dialect.decode(envelope("ping", "p"))
    with pytest.raises(ProtocolError) as caught:
        dialect.decode("{")
    error = told(dialect, Failure(caught.value))
    assert (error["session_id"], error["request_id"]) == ("s", "unknown")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\0\0", "invalid_event"),
        ("", "invalid_json"),
        ("[" * 100_000, "invalid_event"),
        ("[1]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type":"ping"}', "invalid_event"),
        ('{"type":"ping","session_id":"s"}', "invalid_event"),
        ('{"type":"ping","session_id":"s","request_id":""}', "invalid_event"),
        ('{"type":"ping","session_id":"s","request_id":7}', "invalid_event"),
        ('{"type":7,"session_id":"s","request_id":"r"}', "invalid_event"),
        ('{"type":"ping","session_id":"s","request_id":"r","payload":[]}', "invalid_event"),
        (envelope("ping", "r" * 201), "invalid_event"),
        (envelope("cancel", reason="r" * 201), "invalid_event"),
        (envelope("session.close"), "unknown_event"),
        (envelope("session.update", model=["m"]), "invalid_event"),
        (envelope("input_audio_buffer.commit", final="yes"), "invalid_event"),
        (envelope("input_audio_buffer.append", "open"), "invalid_event"),
        (envelope("input_audio_buffer.append", "open", audio=""), "invalid_audio"),
        (envelope("input_audio_buffer.append", "open", audio="A"), "invalid_audio"),
    ],
)
def test_bad_messages_have_a_code_and_say_what_is_expected(
    dialect: YapDialect, message: str | bytes, code: str
) -> None:
    dialect.decode(start("open"))
    with pytest.raises(ProtocolError, match="expected") as caught:
        dialect.decode(message)
    assert caught.value.code == code


@given(st.one_of(st.text(), st.binary()))
def test_no_message_raises_anything_else(message: str | bytes) -> None:
    _decode_or_refuse(YapDialect(), message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TYPES = ["session.update", "input_audio_buffer.append", "input_audio_buffer.commit"]
TYPES += ["cancel", "end", "ping", "pong", "other"]
PAYLOADS = st.dictionaries(st.sampled_from(["model", "audio", "final", "reason"]), JSON) | JSON
IDS = st.sampled_from(["a", "b", "\ud800"]) | JSON


@given(st.lists(st.tuples(st.sampled_from(TYPES), IDS, IDS, PAYLOADS), max_size=8))
def test_no_row_of_envelopes_raises_anything_else(
    rows: list[tuple[str, object, object, object]],
) -> None:
    dialect = YapDialect()
    for kind, session_id, request_id, payload in rows:
        ids = {"session_id": session_id, "request_id": request_id}
        _decode_or_refuse(dialect, json.dumps({"type": kind, **ids, "payload": payload}))


def _decode_or_refuse(dialect: YapDialect, message: str | bytes) -> None:
    answers: list[Message] = []
    try:
        for event in dialect.decode(message):
            if isinstance(event, Reply):
                answers += event.messages
            if isinstance(event, Commit):
                answers += dialect.encode(Done("", 0.0, 0, (), Utterance(1, event.tag)))
    except ProtocolError as error:
        assert error.code in CODES
        answers += dialect.encode(Failure(error))
    for one in answers:
        assert isinstance(one, str)
        one.encode()
