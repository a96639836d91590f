"""Where a stream of sound has speech: one judgement per block, looked up by position.

A detector judges blocks of 32 ms, once each, in order. Pauses, rest, waking, deafness and turns
are all arithmetic on these judgements. The level of the sound is a second witness: it misses
hardly any word, but takes most noise for speech. Positions are seconds from the first sample.

The numbers are measured: 6.2 h of mixtures, 136 conditions (docs/benchmarks.md).
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.level import FLOOR_WINDOW_S, Floor, Sounds, levels

BLOCK_SAMPLES = 512
BLOCK_S = duration_s(BLOCK_SAMPLES)
MAYBE_SPEECH = 0.3
"""A block at or above this likelihood is not a pause; 2 to 4 % of speech blocks are below it."""
CLEAR_SPEECH = 0.7
"""Words are owed for a raw likelihood at or above this; ten hours of noise have no such block."""
SILENT_BEFORE_S = 10.0
"""A sound wakes only after this long without one: typing or music always has one."""
_EPSILON_S = 1e-6
_SPEECH_OVER_FLOOR = 4.0
_QUIET_LEVEL = 0.003
"""Nothing below -50 dBFS (RMS) is speech by its level."""
_LOUD_LEVEL = 0.02
"""Everything above -34 dBFS (RMS) is speech by its level."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a block is speech, from 0 to 1."""

    raw: float
    """The likelihood for the sound as it is."""
    boosted: float
    """The likelihood for the sound with quiet speech made louder."""

    @property
    def best(self) -> float:
        """The larger of the two: either one alone misses words."""
        return max(self.raw, self.boosted)


class SpeechStream(ABC):
    """Judges one stream of sound."""

    @abstractmethod
    def add(self, samples: Samples) -> list[Likelihood]:
        """Take the next samples, shape (n,); returns one judgement per block they complete."""


class SpeechDetector(ABC):
    """Makes a `SpeechStream` for each stream of sound."""

    @abstractmethod
    def stream(self) -> SpeechStream:
        """A stream that has heard nothing yet."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The state after a block was judged. Ends are counts of blocks from the first."""

    speech_end: int
    """Where the last speech ended; 0 before the first."""
    sound_end_s: float
    """Where the last sound, by level, ended; seconds."""
    clear_blocks: int
    """How many blocks of clear speech there were up to this one."""
    wakes: bool
    """Whether an engine must listen from here on."""


_NOTHING = _Block(speech_end=0, sound_end_s=0.0, clear_blocks=0, wakes=False)


class SpeechMap:
    """Where one stream had speech, back to where `forget` has dropped it.

    `add` and `finish` may run in a thread of their own, one call at a time.
    """

    def __init__(self, stream: SpeechStream) -> None:
        self._stream = stream
        self._sounds = Sounds()
        self._blocks: deque[_Block] = deque([_NOTHING])
        self._first = 0  # the number of blocks up to the oldest one kept
        self._end = 0  # and up to the newest
        self._rest: Samples = np.empty(0, dtype=np.float32)

    @property
    def end_s(self) -> float:
        """How far the sound is judged."""
        return self._end * BLOCK_S

    def add(self, samples: Samples) -> None:
        """Judge the next samples, shape (n,)."""
        judged = self._stream.add(samples)
        sound = np.concatenate([self._rest, samples])
        for index, likelihood in enumerate(judged):
            self._sounds.add(sound[index * BLOCK_SAMPLES : (index + 1) * BLOCK_SAMPLES])
            self._note(likelihood)
        self._rest = sound[len(judged) * BLOCK_SAMPLES :]

    def finish(self) -> None:
        """No more sound comes: judge the last partial block as if silence followed it."""
        if len(self._rest):
            self.add(np.zeros(BLOCK_SAMPLES - len(self._rest), dtype=np.float32))

    def forget(self, before_s: float) -> None:
        """Drop the judgements before this position."""
        while self._first < min(self._index(before_s), self._end):
            self._blocks.popleft()
            self._first += 1

    def ends_within(self, start_s: float, end_s: float) -> Iterator[float]:
        """The ends of the judged blocks that end after start_s and not after end_s."""
        last = min(self._index(end_s), self._end)
        return (index * BLOCK_S for index in range(self._index(start_s) + 1, last + 1))

    def quiet_s(self, at_s: float) -> float:
        """How long nobody has spoken before at_s."""
        index = self._index(at_s)
        return (index - self._at(index).speech_end) * BLOCK_S

    def silent_s(self, at_s: float) -> float:
        """How long there has been no sound, by level, before at_s."""
        return max(0.0, at_s - self._at(self._index(at_s)).sound_end_s)

    def clear_speech_s(self, start_s: float, end_s: float) -> float:
        """How much clear speech lies between the two positions."""
        first, last = self._index(start_s), self._index(end_s)
        return max(0, self._at(last).clear_blocks - self._at(first).clear_blocks) * BLOCK_S

    def first_clear_speech(self, start_s: float, end_s: float) -> float | None:
        """Where the first clear speech between the positions begins; None if there is none."""
        before = self._at(self._index(start_s)).clear_blocks
        ends_s = self.ends_within(start_s, end_s)
        found = (end for end in ends_s if self._at(self._index(end)).clear_blocks > before)
        end_s = next(found, -1.0)
        return None if end_s < 0 else end_s - BLOCK_S

    def last_pause(self, start_s: float, end_s: float, length_s: float) -> float | None:
        """The middle of the last pause of length_s between the positions; None if none."""
        earliest_s = max(start_s, self._first * BLOCK_S)
        for index in range(min(self._index(end_s), self._end), self._first, -1):
            at_s = index * BLOCK_S
            if at_s - length_s < earliest_s - _EPSILON_S:
                return None
            if self.quiet_s(at_s) >= length_s - _EPSILON_S:
                return at_s - length_s / 2
        return None

    def waking(self, start_s: float, end_s: float) -> float | None:
        """The start of the first block in between that an engine must hear; None if none."""
        found = (at for at in self.ends_within(start_s, end_s) if self._at(self._index(at)).wakes)
        end_s = next(found, -1.0)
        return None if end_s < 0 else end_s - BLOCK_S

    def _index(self, at_s: float) -> int:
        """How many whole blocks end by at_s."""
        return math.floor((at_s + _EPSILON_S) / BLOCK_S)

    def _at(self, index: int) -> _Block:
        return self._blocks[min(max(index, self._first), self._end) - self._first]

    def _note(self, likelihood: Likelihood) -> None:
        last, end = self._blocks[-1], self._end + 1
        is_speech = likelihood.best >= MAYBE_SPEECH
        sound_end_s = max(last.sound_end_s, self._sounds.end_s)
        was_silent_s = (end - 1) * BLOCK_S - last.sound_end_s
        is_new_sound = sound_end_s > last.sound_end_s and was_silent_s >= SILENT_BEFORE_S
        block = _Block(
            speech_end=end if is_speech else last.speech_end,
            sound_end_s=sound_end_s,
            clear_blocks=last.clear_blocks + (likelihood.raw >= CLEAR_SPEECH),
            wakes=is_speech or is_new_sound,
        )
        self._blocks.append(block)
        self._end = end


class LevelDetector(SpeechDetector):
    """Detects speech by level alone: for tones that stand for words, such as the fake engine's."""

    def stream(self) -> SpeechStream:
        """A stream that has heard nothing yet."""
        return _LevelStream()


class _LevelStream(SpeechStream):
    """Speech is 12 dB above the quietest block of the last seconds, or loud."""

    def __init__(self) -> None:
        self._floor = Floor(round(FLOOR_WINDOW_S / BLOCK_S))
        self._rest: Samples = np.empty(0, dtype=np.float32)

    def add(self, samples: Samples) -> list[Likelihood]:
        """1 for speech, 0 for anything else."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES
        self._rest = samples[whole:]
        return [self._judged(level) for level in levels(samples[:whole].reshape(-1, BLOCK_SAMPLES))]

    def _judged(self, level: float) -> Likelihood:
        over_floor = self._floor.after(level) * _SPEECH_OVER_FLOOR
        is_speech = float(level > min(max(over_floor, _QUIET_LEVEL), _LOUD_LEVEL))
        return Likelihood(is_speech, is_speech)
