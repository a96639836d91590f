import pytest

from lanscribe.dialects.events import Delta, Done
from lanscribe.dialects.segments import Segments, wished
from lanscribe.errors import ProtocolError
from lanscribe.speech.captions import Word

FIELD = "timestamp_granularities"


@pytest.mark.parametrize("name", [FIELD, f"{FIELD}[]"])
@pytest.mark.parametrize(
    ("value", "granularities"),
    [
        (["segment"], ("segment",)),
        (["word"], ("word",)),
        (["word", "segment", "word"], ("segment", "word")),
        ([], ()),
        (None, None),
    ],
)
def test_what_is_asked_for(name: str, value: object, granularities: tuple[str, ...] | None) -> None:
    assert wished({name: value}) == granularities


def test_without_the_field_nothing_is_asked_for() -> None:
    assert wished({"model": "m"}) is None


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (["line"], r"\['line'\]"),
        ([["segment"]], r"\[\['segment'\]\]"),
        ("segment", "a string"),
        (7, "a number"),
    ],
)
def test_anything_else_is_refused_by_name(value: object, got: str) -> None:
    message = rf'^got {got} as \'{FIELD}\'; expected \["segment"\], \["word"\], both or \[\]$'
    with pytest.raises(ProtocolError, match=message) as caught:
        wished({FIELD: value})
    assert caught.value.code == "invalid_timestamp_granularity"


def test_a_segment_comes_with_the_delta_after_it_and_all_come_at_the_end() -> None:
    segments = Segments()
    deltas = [
        Delta("Try", 0.5, start_s=0.1),
        Delta("", 0.6),
        Delta(" ag", 0.9, start_s=0.6),
        Delta("ain", 1.1004, start_s=0.9),
        Delta(" now", 1.5, start_s=1.2),
    ]
    assert [segments.of_delta(delta) for delta in deltas] == [
        [],
        [],
        [{"text": "Try", "end": 0.5}],
        [],
        [{"text": " again", "end": 1.1}],
    ]
    words = (Word("Try", 0.1, 0.5), Word("again", 0.6, 1.1004), Word("now", 1.2, 1.5))
    done = Done("Try again now \n", 2.0, 4, words)
    listed = segments.of_done(done)
    assert listed == [
        {"text": "Try", "end": 0.5},
        {"text": " again", "end": 1.1},
        {"text": " now \n", "end": 1.5},
    ]
    assert "".join(one["text"] for one in listed) == done.text


def test_the_last_word_of_an_utterance_is_not_told_in_the_next() -> None:
    segments = Segments()
    segments.of_delta(Delta("one", 0.5, start_s=0.1))
    assert segments.of_done(Done("", 1.0, 0)) == []
    assert segments.of_delta(Delta("two", 0.5, start_s=0.1)) == []
    assert segments.of_delta(Delta(" three", 0.9, start_s=0.6)) == [{"text": "two", "end": 0.5}]
