"""Decides which repeated words of a hypothesis were spoken again, and which are a model's loop.

A decoder that finds no more speech, or only a part of a word, may write its last words again and
again. A speaker who says a word twice makes its sound twice: the decoder then looks at new sound
for the second word, for as long as the word takes. For a loop it looks at the same sound, or for
no time. If sound ends while somebody speaks, the last word is a half one: it may have sound of its
own, but not be the word that it is taken for.
n tokens, t frames. docs/benchmarks.md explains the numbers.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lanscribe.engines.embedded.alignment import FRAME_S, Alignment
from lanscribe.engines.embedded.streaming import Unit

Floats = npt.NDArray[np.float32]

_SAME_SOUND, _LIKE_SOUND, _NEW_SOUND = 0.75, 0.62, 0.39
"""Two words are one sound if their attention overlaps by more than the first; words spoken twice
mostly overlap by 0.1 to 0.5, loops mostly by 0.7 to 1."""
_LEAST_S = 0.1
_CHARACTER_S, _DIGIT_S = 0.027, 0.08
"""Words spoken again take at least _LEAST_S, and these times for each letter or digit."""
_DOUBT = 2.0
"""A repeat needs this many times more time for each nat of its log-probability below zero."""
_ROOM, _LITTLE_DOUBT = 2.0, 0.3
"""Words with this many times the time they need, and no more doubt than this, are spoken."""
_WHOLE = 0.7
"""If sound ends in speech, words spoken again take this part of the first words' time: 0.76 and
more if both copies are whole, up to 0.64 if a half word is taken for another."""
_HEARD_SHARE = 0.95
"""A word has ended once it has had this much of its attention."""
_STUCK_COPIES = 4
_STUCK_TOKENS = 8
"""A cycle of tokens is checked once it occurs this many times and fills this many tokens: the
zeros of a number are not a loop."""
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a hypothesis: its unit's index, its text, and its rows of attention."""

    index: int
    key: str
    first: int
    stop: int
    log_probability: float


def without_loops(
    prefix: Sequence[Unit], units: Sequence[Unit], attention: Floats, *, is_cut: bool = False
) -> tuple[list[Unit], Floats]:
    """The units without mere repeats of earlier ones, and the attention for the rest.

    prefix: the units before, which stay. attention: shape (n + 1, t), a row for each token of
    prefix and units, and one for the token after them; or (n, t) if the model was stopped.
    is_cut: the sound ends while somebody speaks.
    """
    everything = [*prefix, *units]
    words = _words(everything)
    judge = _Judge(attention, is_cut=is_cut)
    gone = _false_repeats(words, len(prefix), judge) if _has_repeats(words) else set()
    if not gone:
        return list(units), attention
    edges = _edges(everything)
    rows = [row for index in gone for row in range(edges[index], edges[index + 1])]
    left = [unit for index, unit in enumerate(everything) if index not in gone]
    return left[len(prefix) :], np.delete(attention, rows, axis=0)


def stuck_tokens(tokens: Sequence[int], attention: Floats) -> int:
    """How many tokens at the end repeat a cycle while the decoder looked at the same sound.

    attention: shape (n, t), of the tokens.
    """
    for period in range(1, len(tokens) // _STUCK_COPIES + 1):
        length = max(_STUCK_COPIES * period, _STUCK_TOKENS)
        tail = list(tokens[-length:])
        if len(tail) < length or tail[period:] != tail[:-period]:
            continue
        before, last = np.split(attention[-2 * period :], 2)
        if _overlap(before, last) > _SAME_SOUND:
            return length - period
    return 0


def _false_repeats(words: list[_Word], settled: int, judge: "_Judge") -> set[int]:
    """The indexes of units from `settled` on that must go."""
    kept = [word for word in words if word.index < settled]
    rest = words[len(kept) :]
    gone: set[int] = set()
    while rest:
        period, copies = _run(kept, rest)
        counts = judge.spoken(kept[len(kept) - period :], copies)
        for copy, count in zip(copies, counts, strict=True):
            kept += copy[:count]
            if count < len(copy):
                gone |= set(range(max(kept[-1].index + 1, settled), copy[-1].index + 1))
        taken = sum(map(len, copies))
        kept += rest[taken : taken + (not taken)]
        rest = rest[max(taken, 1) :]
    return gone


def _run(kept: list[_Word], rest: list[_Word]) -> tuple[int, list[list[_Word]]]:
    """The shortest cycle at the end of `kept` with which `rest` begins, and its copies there.

    The last copy may be partial at the very end; if it holds a whole word, a number at its end
    may be partial too ("in 1830, in 18"). Without copies there is no cycle.
    """
    for period in range(1, min(len(kept), len(rest)) + 1):
        cycle = _keys(kept[-period:])
        copies = []
        for start in range(0, len(rest), period):
            copy = rest[start : start + period]
            is_end = start + len(copy) == len(rest)
            if not _is_copy(_keys(copy), cycle, is_end=is_end):
                break
            copies.append(copy)
        if copies:
            return period, copies
    return 0, []


def _is_copy(copy: list[str], cycle: list[str], *, is_end: bool) -> bool:
    if copy == cycle[: len(copy)]:
        return True
    *whole, last = copy
    is_part = last.isdigit() and cycle[len(whole)].startswith(last)
    return is_end and is_part and bool(whole) and whole == cycle[: len(whole)]


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The evidence for whether words written a second time were spoken a second time.

    Neither of the two measures of their time is exact; loops have little of both.
    """

    overlap: float
    """The overlap of their attention with that of the first words: 0 to 1."""
    stretch_s: float
    """The sound that belongs to them alone."""
    later_s: float
    """How much later in the sound the decoder looked for them than for the first words."""
    needed_s: float
    """How long such words take when spoken fast."""
    doubt: float
    """Minus their mean log-probability."""
    is_half: bool
    """Whether the sound ends within them, too early in comparison with the first words."""

    @property
    def is_loop(self) -> bool:
        """Whether there is no sound for them at all."""
        has_time = max(self.stretch_s, self.later_s) >= self.needed_s and self.later_s > 0
        return self.overlap > _SAME_SOUND or not has_time

    @property
    def is_likely(self) -> bool:
        """Whether they have enough sound by both measures, or more than enough by one."""
        enough_s = self.needed_s * (1 + _DOUBT * self.doubt)
        has_both = self.stretch_s >= self.needed_s and self.later_s >= _LEAST_S
        has_one = max(self.stretch_s, self.later_s) >= enough_s and self.overlap < _LIKE_SOUND
        return not self.is_loop and not self.is_half and (has_both or has_one or self._is_roomy)

    @property
    def is_sure(self) -> bool:
        """Whether they were spoken beyond doubt."""
        has_both = min(self.stretch_s, self.later_s) >= self.needed_s
        is_new = has_both and self.overlap < _NEW_SOUND
        return not self.is_half and (is_new or (not self.is_loop and self._is_roomy))

    @property
    def _is_roomy(self) -> bool:
        """Whether there is plenty of sound and little doubt, wherever the decoder looked."""
        return self.stretch_s >= _ROOM * self.needed_s and self.doubt < _LITTLE_DOUBT


class _Judge:
    """Knows where the decoder looked for each word."""

    def __init__(self, attention: Floats, *, is_cut: bool) -> None:
        self._attention = attention
        self._is_cut = is_cut

    @cached_property
    def _alignment(self) -> Alignment:
        """Only made if words follow themselves, which is rare."""
        return Alignment(self._attention)

    def spoken(self, first: list[_Word], copies: list[list[_Word]]) -> list[int]:
        """How many words of each copy of the first words have sound.

        If one copy is plainly a loop, the others must be beyond doubt.
        """
        pairs = itertools.pairwise([first, *copies])
        is_loop = any(self._evidence(*pair).is_loop for pair in pairs)
        counts = []
        for copy in copies:
            found = self._evidence(first, copy)
            is_spoken = found.is_sure if is_loop else found.is_likely
            counts.append(len(copy) if is_spoken else self._sure_words(first, copy))
            first = copy if is_spoken else first
        return counts

    def _sure_words(self, first: list[_Word], again: list[_Word]) -> int:
        """How many words at the beginning were surely spoken, although not all of them were."""
        for count in range(len(again) - 1, 0, -1):
            if self._evidence(first, again[:count]).is_sure:
                return count
        return 0

    def _evidence(self, first: list[_Word], again: list[_Word]) -> "_Evidence":
        ours, theirs = self._of(again), self._of(first[: len(again)])
        start_s, end_s = self._span_s(again)
        later_s = (_middle(ours) - _middle(theirs)) * FRAME_S
        needed_s = max(_LEAST_S, sum(_spoken_s(word.key) for word in again))
        doubt = -sum(word.log_probability for word in again) / len(again)
        is_half = self._is_cut and self._is_half(first[: len(again)], start_s)
        return _Evidence(_overlap(ours, theirs), end_s - start_s, later_s, needed_s, doubt, is_half)

    def _is_half(self, first: list[_Word], again_s: float) -> bool:
        """Whether the speech from `again_s` to the end is too short for the first words.

        The model may go on after a half word, so it need not be the last word written.
        Their time excludes the pause after them, which has little of their attention.
        """
        start, end = (round(second / FRAME_S) for second in self._span_s(first))
        weights = self._of(first)[:, start:end].sum(axis=0).cumsum()
        frames = int(np.searchsorted(weights, _HEARD_SHARE * weights[-1])) + 1 if end > start else 0
        left = int(self._attention.shape[1]) - again_s / FRAME_S
        return left < _WHOLE * frames

    def _span_s(self, words: list[_Word]) -> tuple[float, float]:
        return self._alignment.span_s(words[0].first, words[-1].stop)

    def _of(self, words: Sequence[_Word]) -> Floats:
        return np.concatenate([self._attention[word.first : word.stop] for word in words])


def _spoken_s(key: str) -> float:
    """How long a word takes when spoken fast."""
    return sum(_DIGIT_S if character.isdigit() else _CHARACTER_S for character in key)


def _overlap(one: Floats, other: Floats) -> float:
    """The part of two attentions, each (n, t), on the same sound: 0 to 1."""
    shares = [rows.sum(axis=0) / max(rows.sum(), _TINY) for rows in (one, other)]
    return float(np.minimum(*shares).sum())


def _middle(rows: Floats) -> int:
    """The frame before which half of the attention is."""
    weights = rows.sum(axis=0).cumsum()
    return int(np.searchsorted(weights, weights[-1] / 2))


def _keys(words: Sequence[_Word]) -> list[str]:
    return [word.key for word in words]


def _has_repeats(words: Sequence[_Word]) -> bool:
    return len({word.key for word in words}) < len(words)


def _words(units: Sequence[Unit]) -> list[_Word]:
    edges = _edges(units)
    return [
        _Word(index, _key(unit), edges[index], edges[index + 1], unit.log_probability)
        for index, unit in enumerate(units)
        if unit.is_word
    ]


def _edges(units: Sequence[Unit]) -> list[int]:
    """The first token of each unit, and the number of all tokens."""
    return list(itertools.accumulate((len(unit.tokens) for unit in units), initial=0))


def _key(unit: Unit) -> str:
    return "".join(character for character in unit.text.lower() if character.isalnum())
