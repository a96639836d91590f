"""When to cut a stream into segments, and which words of a guess to trust. No sound, no clock.

`Segmenter` turns speech probabilities into segments; `Agreement` turns successive hypotheses
about the open segment into words that are never taken back. Times are seconds of audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, or a mark of punctuation after one."""

    tokens: tuple[int, ...]
    text: str
    """With its leading space, if it has one."""
    log_probability: float
    """Of the least likely of its tokens."""

    @property
    def is_word(self) -> bool:
        """Whether there is a letter or a digit in it."""
        return any(character.isalnum() for character in self.text)


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of the method. Why they are what they are: docs/benchmarks.md."""

    block_s: float = 0.032
    """How much sound one speech probability stands for."""
    open_probability: float = 0.5
    """At and above it a block is speech."""
    close_probability: float = 0.35
    """Below it a block of an open segment is silence."""
    open_s: float = 0.096
    """So much speech in a row opens a segment."""
    pre_roll_s: float = 0.3
    """Sound from before that, which belongs to the segment."""
    close_s: float = 0.512
    """So much silence in a row closes a segment."""
    soft_limit_s: float = 8.0
    """From this length on, ever shorter silences close a segment."""
    dip_limit_s: float = 14.0
    """At this length a single block of silence does."""
    hard_limit_s: float = 16.0
    """No segment is longer: the model was trained on such lengths."""
    tail_s: float = 0.256
    """Silence after the last speech which the model gets to hear."""
    hop_s: float = 0.3
    """A new hypothesis after so much new sound."""
    sure_log_probability: float = -0.1
    """At and above it a word counts as sure."""
    sure_s: float = 0.3
    """A sure word is emitted when it stood in the hypotheses for so long."""
    unsure_s: float = 0.6
    """Any other word."""


class Edge(Enum):
    """What a block means to the segments."""

    OPENS = "opens"
    CLOSES = "closes"


class Segmenter:
    """Finds where segments begin and end. A block is given once; its place is implied."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._speech_s = 0.0
        self.silence_s = 0.0
        """How long there has been no speech."""
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
        """Falls in a line from close_s at the soft limit to one block at the dip limit."""
        policy = self._policy
        span_s = policy.dip_limit_s - policy.soft_limit_s
        part = min(max((self._length_s - policy.soft_limit_s) / span_s, 0.0), 1.0)
        needed_s = policy.close_s + part * (policy.block_s - policy.close_s)
        return needed_s - policy.block_s / 2

    def _silence_probability(self) -> float:
        """Rises in a line from close_probability at the dip limit to 1 at the hard limit."""
        policy = self._policy
        span_s = policy.hard_limit_s - policy.dip_limit_s
        part = min(max((self._length_s - policy.dip_limit_s) / span_s, 0.0), 1.0)
        return policy.close_probability + part * (1.0 - policy.close_probability)


@dataclass(frozen=True, slots=True)
class Settled:
    """A unit that is emitted, and since when it stood in the hypotheses; None if it never did."""

    unit: Unit
    since_s: float | None


class Agreement:
    """Trusts a word once it has stood long enough in the hypotheses about one segment.

    Each hypothesis continues the tokens already emitted. Measuring in seconds of sound rather
    than in hypotheses keeps the delay when a loaded machine makes fewer of them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._units: list[Unit] = []
        self._since_s: list[float] = []
        self.emitted: list[int] = []
        """The tokens emitted so far: every hypothesis has to continue them."""

    @property
    def guess(self) -> list[int]:
        """The tokens of the last hypothesis after the emitted ones."""
        return [token for unit in self._units for token in unit.tokens]

    def update(
        self, units: Sequence[Unit], heard_s: float, *, is_quiet: bool = False
    ) -> list[Settled]:
        """Compare a hypothesis from `heard_s` of sound with those before; what is settled now.

        is_quiet: speech has stopped, so no word is cut off and none waits any longer.
        """
        self._remember(units, heard_s)
        count = 0
        while count < len(units) and (is_quiet or self._has_stood(count, heard_s)):
            count += 1
        while count and not units[count - 1].is_word:
            count -= 1  # a mark may still change until a word follows it
        return self._settle(count)

    def finish(self, units: Sequence[Unit], heard_s: float) -> list[Settled]:
        """The last hypothesis about the segment: all of it is settled."""
        known = len(self._units)
        self._remember(units, heard_s)
        settled = self._settle(len(units))
        stood = [one.since_s is not None and one.since_s < heard_s for one in settled]
        return [
            one if is_old and known else Settled(one.unit, None)
            for one, is_old in zip(settled, stood, strict=True)
        ]

    def _remember(self, units: Sequence[Unit], heard_s: float) -> None:
        same = 0
        while same < min(len(units), len(self._units)) and (
            units[same].tokens == self._units[same].tokens
        ):
            same += 1
        self._units = list(units)
        self._since_s = self._since_s[:same] + [heard_s] * (len(units) - same)

    def _has_stood(self, index: int, heard_s: float) -> bool:
        policy = self._policy
        is_sure = self._units[index].log_probability >= policy.sure_log_probability
        needed_s = policy.sure_s if is_sure else policy.unsure_s
        return heard_s - self._since_s[index] >= needed_s - policy.block_s

    def _settle(self, count: int) -> list[Settled]:
        settled = [
            Settled(unit, since_s)
            for unit, since_s in zip(self._units[:count], self._since_s[:count], strict=True)
        ]
        self.emitted += [token for one in settled for token in one.unit.tokens]
        self._units, self._since_s = self._units[count:], self._since_s[count:]
        return settled
