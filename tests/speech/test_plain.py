"""Text without punctuation: by hand in several languages, and any text in any pieces."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.speech.plain import PlainText, plain


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Turn off, kitchen sink.", "Turn off kitchen sink"),
        (" Turn it off! ", "Turn it off"),
        (
            "Don't touch Ann\u2019s all-day light; it's 7:30.",
            "Don't touch Ann\u2019s all-day light it's 7:30",
        ),
        ("Set it to 21.5 degrees, or 1,000.", "Set it to 21.5 degrees or 1,000"),
        ("It is -5, .5 or 50%.", "It is -5 .5 or 50%"),
        ("(-5) “quoted” 'so'", "-5 quoted so"),
        ("Well... okay—then, AT&T.", "Well okay then AT&T"),
        ("One,two and 1,two", "One two and 1 two"),
        ("5--6, 3 - 2", "5 6 3 2"),
        ("$-a", "$ a"),
        ("¿Qué hora es? ¡Vale!", "Qué hora es Vale"),
        ("你好\uff0c世界。再见\uff01", "你好 世界 再见"),
        ("كم الساعة؟ شكرًا، نعم", "كم الساعة شكرًا نعم"),
        ("बत्ती बंद करो।", "बत्ती बंद करो"),
        ("L'été, aujourd'hui.", "L'été aujourd'hui"),
        ("e\u0301te\u0301's", "e\u0301te\u0301's"),
        ("...", ""),
        ("", ""),
    ],
)
def test_marks_go_and_words_stay(written: str, spoken: str) -> None:
    assert plain(written) == spoken


TEXTS = st.text(st.sampled_from("ab1é ́ .,'\u2019-:;?!¿。、%&()…—\n"), max_size=30) | st.text(
    max_size=30
)


def is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def bare(text: str) -> str:
    """The text without all that is a mark or a space."""
    return "".join(one for one in text if not (one.isspace() or is_punctuation(one)))


def neighbours(text: str) -> list[bool]:
    """Whether each two following characters of the bare text are next to each other in it."""
    at = [i for i, one in enumerate(text) if not (one.isspace() or is_punctuation(one))]
    return [after - before == 1 for before, after in pairwise(at)]


@given(TEXTS)
def test_no_word_is_changed_but_for_marks(text: str) -> None:
    """Nothing else goes or comes, no word is cut, and no two are joined."""
    assert bare(plain(text)) == bare(text)
    assert neighbours(plain(text)) == neighbours(text)
    assert plain(text) == " ".join(plain(text).split())


@given(TEXTS)
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(TEXTS, st.lists(st.integers(1, 5)))
def test_the_pieces_are_the_whole(text: str, sizes: list[int]) -> None:
    one, start, pieces = PlainText(), 0, list[str]()
    for size in sizes:
        pieces.append(one.feed(text[start : start + size]))
        start += size
    assert "".join([*pieces, one.feed(text[start:])]) == plain(text)
