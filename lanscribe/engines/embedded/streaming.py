"""Decides where to cut a stream into segments, and which words of a guess to trust.

`Segmenter` turns speech probabilities into segments; `Agreement` turns successive hypotheses
about the open segment into words that never change. Times are seconds of audio. It has no sound
and no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, or a mark of punctuation after one."""

    tokens: tuple[int, ...]
    text: str
    """The text with its leading space, if any."""
    log_probability: float
    """The probability of its least likely token."""

    @property
    def is_word(self) -> bool:
        """Whether it contains a letter or a digit."""
        return any(character.isalnum() for character in self.text)


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of the method; docs/benchmarks.md explains them."""

    block_s: float = 0.032
    """How much sound one speech probability covers."""
    open_probability: float = 0.5
    """A block at or above this is speech."""
    close_probability: float = 0.35
    """A block of an open segment below this is silence."""
    open_s: float = 0.096
    """This much continuous speech opens a segment."""
    pre_roll_s: float = 0.3
    """The sound before that speech which belongs to the segment."""
    close_s: float = 0.512
    """This much continuous silence closes a segment."""
    soft_limit_s: float = 8.0
    """From this length on, ever shorter silences close a segment."""
    dip_limit_s: float = 14.0
    """At this length a single block of silence closes a segment."""
    hard_limit_s: float = 16.0
    """No segment is longer: the model was trained on such lengths."""
    tail_s: float = 0.256
    """How much silence after the last speech the model hears."""
    hop_s: float = 0.4
    """How much new sound is needed for a new hypothesis."""
    settle_s: float = 0.2
    """A word is emitted after it has stood in the hypotheses for this long."""
    doubt_s: float = 1.0
    """A word waits this much longer for each nat of its log-probability below zero."""
    most_doubt_s: float = 0.5
    """The most by which doubt makes a word wait longer."""
    quiet_s: float = 0.1
    """How long any word must stand once speech has stopped."""

    sure_log_probability: float = -0.03
    """A word that another word follows is emitted at once if it is at least this likely."""
    shown_log_probability: float = -0.3
    """While speech goes on, the last word is told if it is at least this likely: it may be cut."""

    def needed_s(self, unit: Unit) -> float:
        """How long `unit` must stand while speech goes on."""
        return self.settle_s + min(-unit.log_probability * self.doubt_s, self.most_doubt_s)

    def is_sure(self, unit: Unit, after: Sequence[Unit]) -> bool:
        """Whether `unit` need not stand at all, with these units after it."""
        is_whole = any(one.is_word for one in after)
        return is_whole and unit.log_probability >= self.sure_log_probability


class Edge(Enum):
    """The effect of a block on the segments."""

    OPENS = "opens"
    CLOSES = "closes"


class Segmenter:
    """Finds where segments begin and end. Each block comes once; its place is implied."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._speech_s = 0.0
        self.silence_s = 0.0
        """How long the silence has lasted."""
        self._length_s = 0.0
        self.is_open = False
        """Whether a segment is open."""

    def push(self, probability: float) -> Edge | None:
        """Take the next block's probability of speech."""
        return self._within(probability) if self.is_open else self._outside(probability)

    def _outside(self, probability: float) -> Edge | None:
        is_speech = probability >= self._policy.open_probability
        self._speech_s = self._speech_s + self._policy.block_s if is_speech else 0.0
        if self._speech_s < self._policy.open_s - self._policy.block_s / 2:
            return None
        self.is_open = True
        self.silence_s = 0.0
        self._length_s = self._speech_s
        return Edge.OPENS

    def _within(self, probability: float) -> Edge | None:
        self._length_s += self._policy.block_s
        is_silent = probability < self._silence_probability()
        self.silence_s = self.silence_s + self._policy.block_s if is_silent else 0.0
        if self.silence_s < self._needed_silence_s() and self._length_s < self._policy.hard_limit_s:
            return None
        self.is_open = False
        self._speech_s = 0.0
        return Edge.CLOSES

    def _needed_silence_s(self) -> float:
        """Falls linearly from close_s at the soft limit to one block at the dip limit."""
        policy = self._policy
        span_s = policy.dip_limit_s - policy.soft_limit_s
        part = min(max((self._length_s - policy.soft_limit_s) / span_s, 0.0), 1.0)
        needed_s = policy.close_s + part * (policy.block_s - policy.close_s)
        return needed_s - policy.block_s / 2

    def _silence_probability(self) -> float:
        """Rises linearly from close_probability at the dip limit to 1 at the hard limit."""
        policy = self._policy
        span_s = policy.hard_limit_s - policy.dip_limit_s
        part = min(max((self._length_s - policy.dip_limit_s) / span_s, 0.0), 1.0)
        return policy.close_probability + part * (1.0 - policy.close_probability)


class Agreement:
    """Trusts a word once it has stood long enough in the hypotheses about one segment.

    Each hypothesis continues the tokens already emitted. The measure is seconds of sound rather
    than hypotheses, so the delay stays the same when a loaded machine makes fewer of them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._units: list[Unit] = []
        self._since_s: list[float] = []
        self.emitted: list[int] = []
        """The tokens emitted so far: every hypothesis must continue them."""

    @property
    def units(self) -> list[Unit]:
        """The units of the last hypothesis after the emitted tokens."""
        return list(self._units)

    def tentative(self, *, is_cut: bool) -> list[Unit]:
        """The units of the last hypothesis that are worth showing before they are emitted.

        is_cut: the sound ends while somebody speaks. Then the last word may be a half, and a mark
        after it is the model's way to end.
        """
        units = self.units
        if not is_cut:
            return units
        while units and not units[-1].is_word:
            units.pop()
        if units and units[-1].log_probability < self._policy.shown_log_probability:
            units.pop()
        return units

    def update(
        self, units: Sequence[Unit], heard_s: float, *, is_quiet: bool = False
    ) -> list[Unit]:
        """Compare a hypothesis from `heard_s` of sound with those before; returns settled units.

        is_quiet: speech has stopped, so no word is cut off any more.
        """
        self._remember(units, heard_s)
        count = 0
        while count < len(units) and self._has_stood(count, heard_s, is_quiet):
            count += 1
        while count and not units[count - 1].is_word:
            count -= 1  # a mark may still change until a word follows it
        return self._settle(count)

    def finish(self, units: Sequence[Unit], heard_s: float) -> list[Unit]:
        """Settle all of the last hypothesis about the segment."""
        self._remember(units, heard_s)
        return self._settle(len(units))

    def _remember(self, units: Sequence[Unit], heard_s: float) -> None:
        same = 0
        while same < min(len(units), len(self._units)) and (
            units[same].tokens == self._units[same].tokens
        ):
            same += 1
        self._units = list(units)
        self._since_s = self._since_s[:same] + [heard_s] * (len(units) - same)

    def _has_stood(self, index: int, heard_s: float, is_quiet: bool) -> bool:
        policy, unit = self._policy, self._units[index]
        if policy.is_sure(unit, self._units[index + 1 :]):
            return True
        needed_s = policy.quiet_s if is_quiet else policy.needed_s(unit)
        return heard_s - self._since_s[index] >= needed_s - policy.block_s

    def _settle(self, count: int) -> list[Unit]:
        settled = self._units[:count]
        self.emitted += [token for unit in settled for token in unit.tokens]
        self._units, self._since_s = self._units[count:], self._since_s[count:]
        return settled
