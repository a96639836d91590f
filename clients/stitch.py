"""Joins two transcripts of the same audio: finds the words that were already said."""

import math
import re
from collections.abc import Sequence
from itertools import accumulate, takewhile

from lanscribe.speech.audio import SAMPLE_RATE_HZ

HAN_LETTERS = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # no spaces: each letter is a word
)
WORD = re.compile(rf"[{HAN_LETTERS}][^\w\s]*|[^\s{HAN_LETTERS}]+")
OLD_WORDS = 24
"""The number of last words that are compared."""
NEAR_S = 0.6
"""The most by which two sessions' times of the same word may differ."""
TIE_S = 0.15
"""The assumed length of a word if its start is unknown."""
SLACK_SAMPLES = 19_200
"""1.2 s: word times are late by at most this."""

Said = tuple[str, float | None, float]
"""Text as received, its start in the recording if known, and its end; in s."""
Span = tuple[float, float]
"""The start and the end of a word in the recording; in s."""


class Stitch:
    """Joins the transcript of a new connection to the text `said` before.

    The server hears some audio a second time. While open, the stitch holds the words of that
    audio; when closed, it drops those that were said already, up to `said_s`.
    """

    def __init__(self, said: str, *, is_open: bool, said_s: float = math.inf) -> None:
        self._old, self._said_s = WORD.findall(said)[-OLD_WORDS:], said_s
        is_unspaced = bool(self._old) and is_han(self._old[-1])
        self._held: list[Said] = [(" ", None, 0.0)] if said and not is_unspaced else []
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
        count = self._count_said([word[0] for word in words], self._spans(words))
        if not count:
            return self._release(0)
        old, new = self._old[-1], words[count - 1]
        if new[0].casefold().startswith(old.casefold()):  # the old word may have been cut short
            return self._release(new.start() + len(old))
        return self._release(new.end())

    def _spans(self, words: Sequence[re.Match[str]]) -> list[Span]:
        """When the words were spoken that may have been said already."""
        until_s = self._said_s + SLACK_SAMPLES / SAMPLE_RATE_HZ
        pairs = ((self._piece_at(w.start() + 1)[1], self._piece_at(w.end())[2]) for w in words)
        spans = ((end_s - TIE_S if start_s is None else start_s, end_s) for start_s, end_s in pairs)
        return list(takewhile(lambda span: span[1] <= until_s, spans))

    def _count_said(self, words: Sequence[str], spans: Sequence[Span]) -> int:
        """How many of the words were said already."""
        has_times = any(start_s is not None for _, start_s, _ in self._held)
        places = [has_times and self._is_later(span) for span in spans]
        count = repeated(self._old, words[: len(spans)], places)
        if count or not self._old or not has_times:
            return count
        return self._count_by_time(words, spans)

    def _count_by_time(self, words: Sequence[str], spans: Sequence[Span]) -> int:
        """How many were said already, by their times; used if no run of words is equal."""
        for index, (start_s, end_s) in enumerate(spans):
            is_near = abs(end_s - self._said_s) < NEAR_S
            is_within = start_s < self._said_s < end_s  # then a beginning of any length is the same
            if is_near and same_words(
                self._old[-1:], words[index : index + 1], 0 if is_within else 2
            ):
                return index + 1
        return sum(not self._is_later(span) for span in spans)

    def _is_later(self, span: Span) -> bool:
        """Whether most of a word lies after all that was said."""
        return sum(span) / 2 > self._said_s

    def _piece_at(self, at: int) -> Said:
        """The piece with the letter before the index `at`."""
        ends = accumulate(len(text) for text, _, _ in self._held)
        return next(piece for piece, end in zip(self._held, ends, strict=True) if at <= end)

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


def repeated(old: Sequence[str], new: Sequence[str], is_later: Sequence[bool]) -> int:
    """How many of the first `new` words repeat the last `old` ones; the very last may differ.

    is_later: of each new word, whether it was spoken after the old ones; then it is none of them.
    """
    for count in range(min(len(old), len(new)), 0, -1):
        for end in range(count, last_end(old, new, count) + 1):
            run = new[end - count : end]
            if same_words(old[-count:], run, 2 if count == 1 else 0):
                return end
            if 1 < count < len(old) and same_words(old[-count - 1 : -1], run):
                return end + (end < len(new) and not is_later[end])
    return 0


def last_end(old: Sequence[str], new: Sequence[str], count: int) -> int:
    """The last index in `new` where a run of `count` old words may end; 1 word: near the start."""
    if count > 1:
        return len(new)
    return min(len(new), 1 if is_han(old[-1]) else 4)  # single letters are often equal


def is_han(word: str) -> bool:
    """Whether the word is a letter of a script without spaces."""
    return bool(re.match(f"[{HAN_LETTERS}]", word))


def same_words(old: Sequence[str], new: Sequence[str], least: int = 2) -> bool:
    """Whether they are equal except for case, punctuation, and a last old word cut short.

    least: a part of a word has more letters.
    """
    *pairs, (a, b) = [(bare(x), bare(y)) for x, y in zip(old, new, strict=True)]
    is_last_same = a == b or (len(a) > least and b.startswith(a))
    return is_last_same and all(x == y for x, y in pairs)


def bare(word: str) -> str:
    """A word's letters and digits, caseless."""
    return re.sub(r"\W", "", word).casefold()
