"""Mistral's turn detection by hand: its settings, and the order of its events."""

import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    Committed,
    Delta,
    Done,
    Failure,
    ServerEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.dialects.mistral_turns import MistralTurns, Spoken, TurnEvents, wished
from lanscribe.errors import EngineFailed, ProtocolError
from lanscribe.speech.turns import PauseSettings, TurnSettings


def test_an_empty_object_means_the_defaults() -> None:
    assert wished({}) == wished(dict.fromkeys(["start_threshold", "min_silence_ms"]))
    assert wished({}) == MistralTurns()
    assert wished({}).settings == TurnSettings(
        threshold=0.5,
        silence_s=0.5,
        end_threshold=0.33,
        pause=PauseSettings(threshold=0.5, silence_s=0.25, timeout_s=3.0),
    )


def test_a_null_timeout_is_none() -> None:
    turns = wished({"end_timeout_ms": None})
    assert turns.fields["end_timeout_ms"] is None
    assert turns.settings.pause == PauseSettings(0.5, 0.25, None)


def test_what_is_too_long_is_bounded_and_said() -> None:
    fields = wished({"min_silence_ms": 20_000, "end_timeout_ms": 90_000}).fields
    assert (fields["min_silence_ms"], fields["end_timeout_ms"]) == (10_000, 60_000)


@pytest.mark.parametrize(
    ("turns", "named"),
    [
        ({"start_threshold": 1.1}, "turn_detection.start_threshold"),
        ({"end_threshold": "0.3"}, "turn_detection.end_threshold"),
        ({"eager_end_threshold": True}, "turn_detection.eager_end_threshold"),
        ({"min_silence_ms": -1}, "turn_detection.min_silence_ms"),
        ({"end_timeout_ms": float("nan")}, "turn_detection.end_timeout_ms"),
        ({"start_threshold": 0.4}, "start_threshold >= eager_end_threshold > end_threshold"),
        ({"end_threshold": 0.5}, "start_threshold >= eager_end_threshold > end_threshold"),
        ({"end_timeout_ms": 1e99}, "expected milliseconds from 0 to 1000000000000"),
        ({"end_timeout_ms": 400}, "end_timeout_ms to be at least min_silence_ms"),
        ({"end_timeout_ms": 0}, "end_timeout_ms to be at least min_silence_ms"),
    ],
)
def test_what_mistral_refuses_is_refused_by_name(turns: dict[str, Any], named: str) -> None:
    with pytest.raises(ProtocolError, match="expected") as caught:
        wished(turns)
    assert named in caught.value.public_message


def of(number: int) -> Utterance:
    return Utterance(number, "", 10.0 * number)


def told(events: TurnEvents, *taken: ServerEvent) -> list[str]:
    """What is sent, with "done" or "error" for the end of an utterance's text."""
    sent: list[str] = []
    for event in taken:
        if isinstance(event, Done | Failure):
            sent += [one["type"] for one in events.before(event)]
            sent.append("done" if isinstance(event, Done) else "error")
            sent += [one["type"] for one in events.after()]
        else:
            sent += [one["type"] for one in events.take(event)]
    return sent


def done(number: int) -> Done:
    return Done("text", 2.5, 1, of=of(number))


def turn(number: int) -> list[ServerEvent]:
    return [
        SpeechStarted(of(number), 1.0),
        SpeechPaused(of(number), 1.5),
        SpeechResumed(of(number), 1.75),
        SpeechStopped(of(number), 2.0),
        Committed(of(number), number - 1),
    ]


WHOLE = ["turn.start", "turn.eager_end", "turn.resume", "turn.end", "done"]


def test_a_turn_ends_when_its_text_is_complete() -> None:
    assert told(TurnEvents(), *turn(1)) == WHOLE[:3]
    assert told(TurnEvents(), *turn(1), done(1)) == WHOLE


def test_the_next_turn_waits_for_the_text_of_the_last() -> None:
    events = TurnEvents()
    assert told(events, *turn(1), *turn(2)) == WHOLE[:3]
    assert told(events, done(1)) == [*WHOLE[3:], *WHOLE[:3]]
    assert told(events, done(2)) == WHOLE[3:]


def test_a_flush_between_two_turns_is_no_turn() -> None:
    events = TurnEvents()
    assert told(events, Committed(of(1), 0), *turn(2)) == []
    assert told(events, done(1)) == ["done", *WHOLE[:3]]
    assert told(events, done(2)) == WHOLE[3:]


def test_a_turn_that_the_engine_fails_on_ends_too() -> None:
    events = TurnEvents()
    error = EngineFailed("broken")
    assert told(events, *turn(1), Failure(error, None, of(1))) == [*WHOLE[:4], "error"]
    open_turn = told(events, SpeechStarted(of(2), 3.0), Failure(error, None, of(2)))
    assert open_turn == ["turn.start", "error"]
    rest = told(events, SpeechStopped(of(3), 4.0), Committed(of(3), 1), done(3))
    assert rest == ["turn.end", "done"]


def test_a_session_that_ends_in_a_turn_ends_it() -> None:
    events = TurnEvents()
    assert told(events, SpeechStarted(of(1), 1.0)) == ["turn.start"]
    assert list(events.before(done(1))) == [
        {"type": "turn.end", "time_s": 12.5, "end_reason": "timeout"}
    ]
    assert told(events, done(1)) == ["done"]


def test_only_the_end_of_the_session_is_not_announced() -> None:
    events = TurnEvents()
    told(events, *turn(1), Committed(of(2), 1), SpeechStarted(of(3), 4.0))
    for number, expected in ((1, False), (2, False), (3, True)):
        assert events.is_unannounced(done(number)) is expected
        told(events, done(number))


def test_progress_without_text_is_no_text() -> None:
    spoken = Spoken()
    texts = [spoken.delta(Delta(text, 1.0, of=of(n))) for n, text in ((1, "a"), (2, ""), (2, "b"))]
    assert texts == ["a", "", " b"]
    assert spoken.take()["text"] == "a b"
    assert spoken.delta(Delta("c", 1.0, of=of(3))) == "c"


@pytest.mark.parametrize(("is_forced", "reason"), [(False, "threshold"), (True, "timeout")])
def test_the_end_says_why(is_forced: bool, reason: str) -> None:
    events = TurnEvents()
    told(events, SpeechStarted(of(1), 1.0), SpeechStopped(of(1), 2.0004, is_forced=is_forced))
    assert list(events.before(done(1))) == [
        {"type": "turn.end", "time_s": 2.0, "end_reason": reason}
    ]


@given(st.lists(st.booleans(), max_size=8), st.randoms())
def test_every_interleaving_is_one_turn_after_the_other(are_turns: list[bool], random: Any) -> None:
    """Utterances are heard and written at their own pace; those that are no turn are flushes."""
    events, sent, written = TurnEvents(), list[str](), 0
    for number, is_turn in enumerate(are_turns, start=1):
        for event in turn(number) if is_turn else [Committed(of(number), number - 1)]:
            while written < number - 1 and random.random() < 0.3:
                written += 1
                sent += told(events, done(written))
            sent += told(events, event)
    for number in range(written + 1, len(are_turns) + 1):
        sent += told(events, done(number))
    expected = [kind for is_turn in are_turns for kind in (WHOLE if is_turn else ["done"])]
    assert sent == expected
    assert ("turn.start", "turn.start") not in pairwise(sent)


def test_hours_of_turns_take_little_more_memory_than_their_text() -> None:
    spoken, length, is_traced = Spoken(), 0, tracemalloc.is_tracing()
    if not is_traced:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1, 1001):
        texts = [f" {number}.{token}" for token in range(12)]
        length += sum(len(spoken.delta(Delta(text, 1.0, of=of(number)))) for text in texts)
        spoken.end(Done("".join(texts), 1.0, len(texts), of=of(number)))
    taken = tracemalloc.get_traced_memory()[0] - before
    if not is_traced:
        tracemalloc.stop()
    assert taken < 2 * length
    assert len(spoken.take()["text"]) == length
    assert spoken.take()["text"] == ""
