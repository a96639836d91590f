"""Joins two transcripts of the same audio: finds the words that were already said."""

import math
import re
from collections.abc import Sequence
from itertools import accumulate, takewhile

from lanscribe.speech.audio import SAMPLE_RATE_HZ

HAN_LETTERS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # no spaces: each letter is a word
WORD = re.compile(rf"[{HAN_LETTERS}][^\w\s]*|[^\s{HAN_LETTERS}]+")
OLD_WORDS = 24
"""The number of last words that are compared."""
NEAR_S = 0.6
"""The most by which two sessions' times of the same word may differ."""
TIE_S = 0.15
"""The same for the end of a word that one session misheard."""
SLACK_SAMPLES = 19_200
"""1.2 s: word times are late by at most this."""

Said = tuple[str, float | None, float]
"""Text as received, its start in the recording if known, and its end; in s."""


class Stitch:
    """Joins the transcript of a new connection to the text `said` before.

    The server hears some audio a second time. While open, the stitch holds the words of that
    audio; when closed, it drops those that were said already, up to `said_s`.
    """

    def __init__(self, said: str, *, is_open: bool, said_s: float = math.inf) -> None:
        self._old, self._said_s = WORD.findall(said)[-OLD_WORDS:], said_s
        self._held: list[Said] = [(" ", None, 0.0)] if said else []
        self.is_open = is_open

    def feed(self, piece: Said) -> list[Said]:
        """Add a piece; return the pieces that can be said now."""
        self._held.append(piece)
        return [] if self.is_open else self._release(0)

    @property
    def has_words(self) -> bool:
        """Whether it holds words."""
        return bool(self._text.strip())

    def close(self) -> list[Said]:
        """Return the held words that were not said before."""
        self.is_open = False
        words = list(WORD.finditer(self._text))
        count = self._count_said([word[0] for word in words], self._ends_s(words))
        if not count:
            return self._release(0)
        old, new = self._old[-1], words[count - 1]
        if new[0].casefold().startswith(old.casefold()):  # the old word may have been cut short
            return self._release(new.start() + len(old))
        return self._release(new.end())

    def _ends_s(self, words: Sequence[re.Match[str]]) -> list[float]:
        """The end times of the words that may have been said already."""
        until_s = self._said_s + SLACK_SAMPLES / SAMPLE_RATE_HZ
        return list(
            takewhile(lambda end_s: end_s <= until_s, (self._end_s(w.end()) for w in words))
        )

    def _count_said(self, words: Sequence[str], ends_s: Sequence[float]) -> int:
        """How many of the words were said already."""
        count = repeated(self._old, words[: len(ends_s)])
        has_times = any(start_s is not None for _, start_s, _ in self._held)
        if count or not self._old or not has_times:
            return count
        return self._count_by_time(words, ends_s)

    def _count_by_time(self, words: Sequence[str], ends_s: Sequence[float]) -> int:
        """How many were said already, by their times; used if no run of words is equal."""
        for index, end_s in enumerate(ends_s):
            is_near = abs(end_s - self._said_s) < NEAR_S
            if is_near and same_words(self._old[-1:], [words[index]]):
                return index + 1
        return sum(end_s <= self._said_s + TIE_S for end_s in ends_s)

    def _end_s(self, at: int) -> float:
        """The end time of the letter before the index `at`."""
        ends = accumulate(len(text) for text, _, _ in self._held)
        return next(piece[2] for piece, end in zip(self._held, ends, strict=True) if at <= end)

    @property
    def _text(self) -> str:
        return "".join(text for text, _, _ in self._held)

    def _release(self, start: int) -> list[Said]:
        """Return the held text without its first `start` letters."""
        released = []
        for text, start_s, end_s in self._held:
            if text[start:]:
                released.append((text[start:], start_s, end_s))
            start = max(0, start - len(text))
        self._held = []
        return released


def repeated(old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the first `new` words repeat the last `old` ones; the very last may differ."""
    for count in range(min(len(old), len(new)), 0, -1):
        for end in range(count, last_end(old, new, count) + 1):
            if same_words(old[-count:], new[end - count : end]):
                return end
            is_last_misheard = 1 < count < len(old) and same_words(
                old[-count - 1 : -1], new[end - count : end]
            )
            if is_last_misheard:
                return min(end + 1, len(new))
    return 0


def last_end(old: Sequence[str], new: Sequence[str], count: int) -> int:
    """The last index in `new` where a run of `count` old words may end; 1 word: near the start."""
    if count > 1:
        return len(new)
    is_letter = re.match(f"[{HAN_LETTERS}]", old[-1])  # single letters are often equal
    return min(len(new), 1 if is_letter else 4)


def same_words(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether they are equal except for case, punctuation, and a last old word cut short."""
    *pairs, (a, b) = [(bare(x), bare(y)) for x, y in zip(old, new, strict=True)]
    is_last_same = a == b or (len(a) > 2 and b.startswith(a))
    return is_last_same and all(x == y for x, y in pairs)


def bare(word: str) -> str:
    """A word's letters and digits, caseless."""
    return re.sub(r"\W", "", word).casefold()
