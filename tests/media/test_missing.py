"""What a recording lacks, as it is told: few parts, which cover all of them."""

import random

import pytest

from lanscribe.media.missing import MAX_PARTS, MissingParts, missing_field, track_field
from lanscribe.media.pieces import About, Missing
from lanscribe.server.missing import missing_event, missing_header, track_event, track_header

DAMAGED = Missing(5.5, 11.0004, "damaged", "a packet cannot be decoded")
NO_TEXT = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}
CUT_OFF = Missing(12.0, None, "cut_off", "the file ends here")


def filled(*parts: Missing) -> MissingParts:
    missing = MissingParts()
    for part in parts:
        missing.add(part)
    return missing


def many(count: int) -> list[Missing]:
    return [Missing(float(n), n + 0.5, "damaged", f"reason {n}") for n in range(count)]


def test_a_whole_recording_has_nothing_to_tell() -> None:
    assert not MissingParts()
    assert missing_field(MissingParts()) == {}
    assert missing_header(MissingParts()) == {}


def test_parts_are_told_as_a_field_and_as_a_header() -> None:
    missing = filled(DAMAGED, CUT_OFF)
    assert missing_field(missing) == {
        "missing": [
            {"start": 5.5, "end": 11.0, "code": "damaged", "why": "a packet cannot be decoded"},
            {"start": 12.0, "end": None, "code": "cut_off", "why": "the file ends here"},
        ]
    }
    assert missing_header(missing) == {"Lanscribe-Missing": "5.500-11.000 damaged, 12.000- cut_off"}


def test_each_part_is_due_once_and_in_order() -> None:
    missing = filled(DAMAGED)
    assert list(missing.due(5.5)) == []
    assert list(missing.due(5.6)) == [DAMAGED]
    missing.add(CUT_OFF)
    assert list(missing.due(6.0)) == []
    assert list(missing.rest()) == [CUT_OFF]
    assert list(missing.rest()) == []


def test_an_event_has_the_fields_of_a_part() -> None:
    assert missing_event(CUT_OFF) == {
        "type": "transcript.missing",
        "start": 12.0,
        "end": None,
        "code": "cut_off",
        "why": "the file ends here",
        **NO_TEXT,
    }


def test_as_many_as_are_told_one_by_one() -> None:
    assert list(filled(*many(MAX_PARTS))) == many(MAX_PARTS)


def test_one_more_part_covers_all_the_others() -> None:
    missing = filled(*many(10_000))
    *parts, last = missing
    assert parts == many(MAX_PARTS)
    assert last == Missing(float(MAX_PARTS), 9999.5, "damaged", "reason 9999")
    assert list(missing.rest())[-1] == last
    missing.add(CUT_OFF)
    missing.add(DAMAGED)
    *_, last = missing
    assert (last.start_s, last.end_s) == (float(MAX_PARTS), None)


def test_whatever_the_parts_every_one_is_covered() -> None:
    for seed in range(50):
        random_ = random.Random(seed)
        ends = sorted(random_.uniform(0, 1e5) for _ in range(2 * random_.randint(1, 400)))
        parts = [
            Missing(start_s, end_s, "gap", "")
            for start_s, end_s in zip(ends[::2], ends[1::2], strict=True)
        ]
        told = list(filled(*parts))
        assert len(told) <= MAX_PARTS + 1
        for part in parts:
            assert any(
                one.start_s <= part.start_s and (part.end_s or 0) <= (one.end_s or 0)
                for one in told
            ), f"seed {seed}"


def test_the_only_track_is_not_told() -> None:
    assert track_field(About(title="a title", duration_s=3.0)) == {}
    assert track_header(About(title="a title")) == {}


ABOUT = About(2, 3, "de", "Caf\u00e9; \ud800\n", "track 1")


def test_one_of_several_tracks_is_told() -> None:
    track = {
        "number": 2,
        "count": 3,
        "language": "de",
        "title": "Caf\u00e9; \ud800\n",
        "why": "track 1",
    }
    assert track_field(ABOUT) == {"track": track}
    assert track_event(ABOUT) == {"type": "transcript.track"} | track | NO_TEXT


@pytest.mark.parametrize(
    ("about", "header"),
    [
        (
            ABOUT,
            "2; count=3; language=de; title=Caf%C3%A9%3B%20%3F%0A; why=track%201",
        ),
        (About(0, 2), "0; count=2"),
        (About(1, 2, title="x" * 10_000), "1; count=2; title=" + "x" * 100),
    ],
)
def test_a_header_is_ascii_and_short(about: About, header: str) -> None:
    assert track_header(about) == {"Lanscribe-Track": header}
