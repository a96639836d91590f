"""Text without punctuation, as it is written.

Some programs compare sentences letter by letter: to them "kitchen sink." is not "kitchen sink".
What belongs to a word stays: an apostrophe, a hyphen, a decimal point, a minus sign, a per cent.
"""

import unicodedata

_IN_WORDS = frozenset("'-.\u2019\u02bc\uff07\u2010\u2011\u00b7\u05f3\u05f4\u0f0b")
"""Marks that belong to a word that goes on after them, as in don't, all-day and lanscribe.local:
apostrophes, hyphens, full stop, middle dot, Hebrew geresh and gershayim, Tibetan tsheg."""
_IN_NUMBERS = frozenset(",:\u066b\u066c")
"""Marks that belong to a number that goes on after them, as in 1,000 and 7:30."""
_BEFORE_NUMBERS = frozenset("-.")
"""Marks that belong to the number after them, as in -5 and .5."""
_SYMBOLS = frozenset("%‰&@#*/\\§_")
"""Punctuation to Unicode, but read aloud, or part of a name."""
_PUNCTUATION = "P"


class PlainText:
    """Takes text as it comes, and gives it without punctuation and with single spaces.

    The pieces together are the same however the text was divided.
    """

    def __init__(self) -> None:
        self._last = ""
        """The last character given, "" at first."""
        self._is_apart = False
        """Whether the next character begins a new word."""
        self._marks = ""
        """Marks that belong to a word only if it goes on after them."""

    def feed(self, text: str) -> str:
        """The next of the plain text."""
        return "".join(map(self._next, text))

    def _next(self, character: str) -> str:
        if character.isspace():
            self._is_apart, self._marks = True, ""
            return ""
        if _is_mark(character):
            self._marks += character
            return ""
        before = "" if self._is_apart else self._last
        marks, self._marks = self._marks, ""
        kept = _kept(before, marks, character)
        is_new_word = self._is_apart or (bool(marks) and not kept)
        gap = " " if is_new_word and self._last else ""
        self._last, self._is_apart = character, False
        return gap + kept + character


def plain(text: str) -> str:
    """The whole text without punctuation."""
    return PlainText().feed(text)


def _is_mark(character: str) -> bool:
    is_punctuation = unicodedata.category(character).startswith(_PUNCTUATION)
    return is_punctuation and character not in _SYMBOLS


def _kept(before: str, marks: str, after: str) -> str:
    """The marks that belong to the word of the characters around them; "" for none.

    before: "" if the marks begin a word.
    """
    if not before:
        last = marks[-1:]
        return last if last in _BEFORE_NUMBERS and after.isdigit() else ""
    if len(marks) != 1 or not (_is_of_word(before) and _is_of_word(after)):
        return ""
    is_kept = marks in _IN_WORDS or (marks in _IN_NUMBERS and before.isdigit() and after.isdigit())
    return marks if is_kept else ""


def _is_of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
