"""Every order of first messages on the path that three protocols share."""

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    Failure,
    KeepForResume,
    Reply,
    SessionCreated,
)
from lanscribe.dialects.negotiation import MAX_UNDECIDED_BYTES, NegotiatingDialect
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import CODES, ClientError, EngineUnavailable, LimitError, ProtocolError

INFO = EngineInfo("fake", "served", ("en",), word_times=True, max_session_s=None, capacity=1)
AUDIO = bytes(2 * 2400)
APPEND = {
    "type": "input_audio_buffer.append",
    "audio": base64.b64encode(AUDIO).decode(),
}
CLEAR = {"type": "input_audio_buffer.clear"}
UPDATES: dict[str, dict[str, Any]] = {
    "vllm": {"type": "session.update", "model": "served"},
    "openai": {"type": "session.update", "session": {"type": "transcription"}},
    "beta": {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16"}},
    "voxmlx": {"type": "session.update"},
    "voxmlx null": {"type": "session.update", "session": None},
}
SAMPLES = {"vllm": 2400, "openai": 1600, "beta": 1600, "voxmlx": 2400, "voxmlx null": 2400}
"""How many samples at 16 kHz AUDIO is, in each protocol."""
DELTAS = {
    "vllm": "transcription.delta",
    "openai": "conversation.item.input_audio_transcription.delta",
    "beta": "conversation.item.input_audio_transcription.delta",
    "voxmlx": "response.audio_transcript.delta",
    "voxmlx null": "response.audio_transcript.delta",
}


def make(**query: str) -> NegotiatingDialect:
    dialect = NegotiatingDialect(INFO, query)
    dialect.encode(SessionCreated("sess-1", 5))
    return dialect


def send(dialect: NegotiatingDialect, *messages: object) -> list[ClientEvent]:
    return [event for one in messages for event in dialect.decode(json.dumps(one))]


def samples_in(events: list[ClientEvent]) -> int:
    return sum(len(event.samples) for event in events if isinstance(event, AppendAudio))


def error_of(dialect: NegotiatingDialect, *messages: object) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        send(dialect, *messages)
    (told,) = dialect.encode(Failure(caught.value))
    payload = json.loads(told)
    assert isinstance(payload, dict)
    return payload


def test_the_greeting_serves_all_three() -> None:
    (told,) = NegotiatingDialect(INFO, {}).encode(SessionCreated("sess-1", 5, "token", 60.0))
    greeting = json.loads(told)
    assert greeting["type"] == "session.created"
    assert (greeting["id"], greeting["created"], greeting["seq"]) == ("sess-1", 5, 1)
    assert greeting["resume"] == {"token": "token", "keep_s": 60.0}
    assert greeting["event_id"]
    assert greeting["session"]["id"] == "sess-1"
    assert greeting["session"]["type"] == "transcription"
    assert greeting["session"]["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize("query", [{}, {"intent": "transcription"}, {"model": "x"}], ids=str)
@pytest.mark.parametrize("appends", [0, 1, 3])
@pytest.mark.parametrize("protocol", UPDATES)
def test_the_first_update_decides(protocol: str, appends: int, query: dict[str, str]) -> None:
    dialect = make(**query)
    assert send(dialect, *[APPEND] * appends) == []
    events = send(dialect, UPDATES[protocol], *[APPEND] * (3 - appends))
    assert (events[0] == Reply(())) is (protocol == "vllm")
    events += send(dialect, {"type": "input_audio_buffer.commit", "final": True})
    assert isinstance(events[-1], Commit)
    assert samples_in(events) == 3 * SAMPLES[protocol]
    (delta,) = dialect.encode(Delta("a", 1.0))
    assert json.loads(delta)["type"] == DELTAS[protocol]


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.permutations(["vllm", "openai", "voxmlx"], 2))
)
def test_a_second_update_does_not_change_the_protocol(first: str, second: str) -> None:
    dialect = make()
    send(dialect, UPDATES[first])
    try:
        send(dialect, UPDATES[second])
    except ProtocolError as error:
        assert error.code == "invalid_event"  # vLLM's needs a model
    (delta,) = dialect.encode(Delta("a", 1.0))
    assert json.loads(delta)["type"] == DELTAS[first]


def test_vllms_extras_survive() -> None:
    dialect = make()
    binary = dialect.decode(AUDIO)
    assert binary == []
    events = send(dialect, {**UPDATES["vllm"], "resume": True})
    assert isinstance(events[1], KeepForResume)
    assert samples_in([*events, *dialect.decode(AUDIO)]) == 4800


@pytest.mark.parametrize("query", [{}, {"intent": "transcription"}], ids=str)
@pytest.mark.parametrize("protocol", UPDATES)
def test_a_commit_before_any_update_is_refused_and_the_audio_kept(
    protocol: str, query: dict[str, str]
) -> None:
    dialect = make(**query)
    send(dialect, APPEND)
    with pytest.raises(ProtocolError) as caught:
        send(dialect, {"type": "input_audio_buffer.commit"})
    assert caught.value.code == "model_not_validated"
    final = {"type": "input_audio_buffer.commit", "final": True}
    assert samples_in(send(dialect, UPDATES[protocol], final)) == SAMPLES[protocol]


@pytest.mark.parametrize("protocol", UPDATES)
def test_a_clear_forgets_what_was_kept(protocol: str) -> None:
    dialect = make()
    (reply,) = send(dialect, APPEND, CLEAR)
    assert isinstance(reply, Reply)
    assert json.loads(reply.messages[0])["type"] == "input_audio_buffer.cleared"
    assert samples_in(send(dialect, UPDATES[protocol])) == 0


def test_errors_are_vllms_until_it_is_decided() -> None:
    assert error_of(make(), {"type": "response.create"})["code"] == "unknown_event"
    assert error_of(make(), {"type": 5})["code"] == "invalid_event"
    assert error_of(make(), {**APPEND, "audio": ""})["code"] == "invalid_audio"


def test_errors_are_openais_where_the_url_says_so() -> None:
    dialect = make(intent="transcription")
    error = error_of(dialect, {"type": "response.create", "event_id": "mine"})
    assert error["error"]["code"] == "unknown_event"
    assert error["error"]["event_id"] == "mine"
    error = error_of(dialect, {**APPEND, "audio": "?", "event_id": "audio"})
    assert error["error"]["code"] == "invalid_audio"
    assert error["error"]["event_id"] == "audio"
    (told,) = dialect.encode(Failure(EngineUnavailable("loading")))
    assert json.loads(told)["error"]["code"] == "engine_unavailable"


def test_a_refused_update_is_told_in_its_own_protocol_and_may_be_repeated() -> None:
    dialect = make()
    send(dialect, APPEND)
    bad = {"type": "session.update", "session": {"audio": 5}}
    assert error_of(dialect, bad)["error"]["code"] == "invalid_event"
    assert samples_in(send(dialect, UPDATES["vllm"])) == 2400


def test_a_client_whose_model_is_refused_may_choose_again_and_loses_no_audio() -> None:
    dialect = make()
    refused = error_of(dialect, {"type": "session.update", "model": "other"})
    assert (refused["type"], refused["code"]) == ("error", "model_not_found")
    assert send(dialect, *[APPEND] * 3) == []
    assert samples_in(send(dialect, UPDATES["vllm"])) == 3 * SAMPLES["vllm"]


def test_what_turns_out_to_be_no_audio_is_told_and_the_rest_is_taken() -> None:
    dialect = make(intent="transcription")
    dialect.decode(AUDIO)  # a binary frame, which only vLLM's protocol has
    events = send(dialect, APPEND, UPDATES["openai"])
    replies = [json.loads(event.messages[0]) for event in events if isinstance(event, Reply)]
    assert [reply["type"] for reply in replies] == ["session.updated", "error"]
    assert replies[1]["error"]["code"] == "invalid_event"
    assert samples_in(events) > 0


def test_the_audio_that_is_kept_is_bounded() -> None:
    dialect = make()
    message = json.dumps({**APPEND, "audio": base64.b64encode(bytes(3_000_000)).decode()})
    for _ in range(MAX_UNDECIDED_BYTES // len(message) + 1):
        dialect.decode(message)
    with pytest.raises(LimitError) as caught:
        dialect.decode(message)
    assert caught.value.code == "audio_buffer_full"
    assert dialect.decode(message) == []
    send(dialect, CLEAR, APPEND)
    assert samples_in(send(dialect, UPDATES["vllm"])) == SAMPLES["vllm"]


def test_messages_that_hold_next_to_nothing_are_bounded_too() -> None:
    dialect = make()
    with pytest.raises(LimitError, match=r"send session\.update first"):
        for _ in range(MAX_UNDECIDED_BYTES // 64):
            dialect.decode(bytes(2))


JSON = st.none() | st.booleans() | st.integers() | st.text() | st.dictionaries(st.text(), st.text())
TYPES = ["session.update", "transcription_session.update", "other"]
TYPES += [f"input_audio_buffer.{kind}" for kind in ("append", "commit", "clear")]
MESSAGES = (
    st.binary()
    | st.text()
    | st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES) | JSON},
        optional={
            "audio": JSON | st.binary().map(lambda data: base64.b64encode(data).decode()),
            "final": JSON,
            "model": JSON,
            "session": JSON,
            "event_id": JSON,
        },
    ).map(json.dumps)
)


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=6), st.sampled_from([{}, {"intent": "transcription"}]))
def test_no_messages_raise_anything_else(
    messages: list[str | bytes], query: dict[str, str]
) -> None:
    dialect = make(**query)
    for message in messages:
        try:
            dialect.decode(message)
        except ClientError as error:
            assert error.code in CODES
            assert dialect.encode(Failure(error))
