"""What counts as lost or doubled: the judge of the talks, judged."""

import pytest

from tests.browser.hearing import Difference, Word, differences, lost_or_doubled, shown_by_a_page
from tests.browser.recording import WORDS

HEARD = [Word(text, 0.6 * number) for number, text in enumerate(WORDS)]
LATE_S = 1.7


def shown(*changes: tuple[int, int, str]) -> list[Word]:
    """The same, a while later. changes: from a word to before another, and what is instead."""
    found = [Word(one.text, one.start_s + LATE_S) for one in HEARD]
    for first, end, instead in reversed(changes):
        start_s = found[first].start_s
        found[first:end] = [Word(text, start_s) for text in instead.split()]
    return found


def test_what_is_the_same_has_no_differences() -> None:
    assert differences(shown(), HEARD) == []
    assert differences([], []) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([(4, 5, "")], [(None, "no")]),
        ([(4, 5, "no no")], [("no", None)]),
        ([(7, 8, ""), (9, 9, "fail")], [(None, "again"), ("fail", None)]),  # as many as before
        ([(3, 4, "fail")], [("fail", "failed")]),
        ([(0, 1, "")], []),  # cut off
        ([(0, 2, "")], [(None, "tried")]),
        ([(11, 12, "better bet")], []),
    ],
)
def test_differences_are_few_and_in_place(
    changes: list[tuple[int, int, str]], found: list[tuple[str | None, str | None]]
) -> None:
    assert differences(shown(*changes), HEARD) == [Difference(*one) for one in found]


def test_another_word_is_neither_lost_nor_doubled() -> None:
    assert lost_or_doubled(differences(shown((3, 4, "fail")), HEARD)) == []
    assert lost_or_doubled(differences(shown((3, 4, "")), HEARD)) == [Difference(None, "failed")]


def test_words_that_moved_are_lost_and_doubled() -> None:
    """The same words, of which one comes two seconds late."""
    moved = shown()
    moved[6] = Word("try", moved[6].start_s + 2.0)
    assert len(lost_or_doubled(differences(moved, HEARD))) == 2


def test_pieces_of_the_page_are_words_and_gaps_are_no_sound() -> None:
    pieces = [(" Ever", 1.0), (" tri", 2.0), ("ed.", 2.1), (" No", 9.0)]
    transcript = {
        "words": [{"text": text, "startS": start_s} for text, start_s in pieces],
        "gaps": [{"startS": 3.0, "endS": 7.0}, {"startS": 10.0, "endS": None}],
    }
    assert shown_by_a_page(transcript) == [Word("ever", 1.0), Word("tried", 2.0), Word("no", 5.0)]
