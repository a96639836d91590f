"""A track is chosen by what a person asks for, or because it has sound."""

import pytest

from lanscribe.media.pieces import NoSuchTrack
from lanscribe.media.tracks import TrackFacts, chosen

TRACKS = [
    TrackFacts("eng", "", is_default=False),
    TrackFacts("ger", "Kommentar", is_default=True),
    TrackFacts("pt-BR", "", is_default=False),
    TrackFacts("", "Mikrofon", is_default=False),
]


def never(_index: int) -> bool:
    raise AssertionError("nothing is open")


def choice(wanted: str, tracks: list[TrackFacts] = TRACKS) -> int | None:
    return chosen(tracks, 0, wanted, never)[0]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        *(("1", 0), ("4", 3), (" 2 ", 1), ("default", 1), ("all", None)),
        *(("en", 0), ("EN", 0), ("eng", 0), ("en-GB", 0)),
        *(("de", 1), ("deu", 1), ("ger", 1), ("pt", 2), ("por", 2)),
    ],
)
def test_a_track_is_named_by_number_language_or_mark(wanted: str, index: int | None) -> None:
    assert choice(wanted) == index


def test_without_a_mark_the_first_is_the_default() -> None:
    assert chosen(TRACKS[2:], 1, "default", never) == (0, "it is the first")


@pytest.mark.parametrize(
    "wanted", ["0", "5", "-1", "1.0", "fr", "und", "nonsense!", "²", "x" * 999, "9" * 5_000]
)
def test_what_is_not_there_is_refused_with_what_is(wanted: str) -> None:
    with pytest.raises(NoSuchTrack) as caught:
        choice(wanted)
    said = str(caught.value)
    assert wanted[:50] in said
    assert "1 (eng), 2 (ger, Kommentar), 3 (pt-BR), 4 (Mikrofon)" in said
    assert len(said) < 300


def test_a_refusal_names_only_the_first_of_many_tracks_and_of_long_titles() -> None:
    tracks = [TrackFacts("eng", "x" * 10_000, is_default=False)] * 10_000
    with pytest.raises(
        NoSuchTrack, match=r"from 1 to 10000.*1 \(eng, x+\).* and 9980 others"
    ) as caught:
        choice("fr", tracks)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("sounds", "best", "wanted"),
    [
        ([1, 1, 1], 0, (0, "it is the default")),
        ([0, 1, 1], 0, (1, "track 1 is silent")),
        ([1, 0, 0], 2, (0, "track 3 is silent")),
        ([0, 0, 0], 1, (1, "it is the default")),
    ],
)
def test_a_silent_track_is_passed_over(
    sounds: list[int], best: int, wanted: tuple[int, str]
) -> None:
    asked: list[int] = []

    def has_sound(index: int) -> bool:
        asked.append(index)
        return bool(sounds[index])

    assert chosen(TRACKS[:3], best, "", has_sound) == wanted
    assert asked[0] == best


def test_an_only_track_is_taken_without_a_reason() -> None:
    assert chosen(TRACKS[:1], 0, "", never) == (0, "")
