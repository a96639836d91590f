"""Where a speaker's turns begin and end in a stream of sound.

Decisions only, by how likely each block of 32 ms is speech. Positions count samples from the
first of the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import BLOCK_SAMPLES, SpeechStream

ONSET_BLOCKS = 3
"""This many consecutive blocks of speech begin a turn; fewer are a click."""
NEUTRAL_THRESHOLD = 0.5
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 0.05, 0.95
"""Beyond them everything, or nothing, would be speech."""
_HYSTERESIS = 0.15
"""A turn goes on while speech is less likely by at most this than the threshold to begin one."""
_LEAST_LIKELY = 0.01


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The conditions of a turn.

    threshold: 0 to 1; how likely a block must be speech to begin a turn.
    prefix_padding_s: how much sound before the speech belongs to the turn.
    silence_s: the length of the silence that ends a turn; whole blocks, rounded up.
    """

    threshold: float = NEUTRAL_THRESHOLD
    prefix_padding_s: float = 0.3
    silence_s: float = 0.5


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """The sound that follows belongs to a turn; its first sample is number `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn's last sample is the one before number `at`."""

    at: int


TurnPiece = TurnBegan | TurnEnded | Samples
"""A turn is a TurnBegan, then samples, then a TurnEnded."""


class Turns:
    """Extracts the turns of a stream, and holds back sound that may be the padding of the next.

    speech: judges the stream.
    start: the number of the first sample to come.
    is_speaking: whether a turn has begun before it.
    """

    def __init__(
        self,
        settings: TurnSettings,
        speech: SpeechStream,
        start: int,
        *,
        is_speaking: bool = False,
    ) -> None:
        self._settings = settings
        self._speech = speech
        self.is_speaking = is_speaking
        """Whether a turn has begun and not ended."""
        threshold = min(max(settings.threshold, _LOWEST_THRESHOLD), _HIGHEST_THRESHOLD)
        self._begins_at = threshold
        self._lasts_at = max(threshold - _HYSTERESIS, _LEAST_LIKELY)
        self._held: Samples = np.empty(0, dtype=np.float32)
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._position = start
        self._released_samples = 0  # of the block not judged yet
        self._speech_blocks = 0
        self._quiet_samples = 0

    def add(self, samples: Samples) -> list[TurnPiece]:
        """Take the next samples, shape (n,); returns the pieces of turns that they complete."""
        judged = self._speech.add(samples)
        sound = np.concatenate([self._rest, samples])
        pieces: list[TurnPiece] = []
        start = 0
        for likelihood in judged:
            stop = start + BLOCK_SAMPLES - self._released_samples
            self._released_samples = 0
            pieces += self._hear(sound[start:stop], likelihood.best)
            start = stop
        self._rest = sound[start:]
        return pieces

    def release(self) -> Samples:
        """Abandon the turn, if any; returns the samples held back, shape (n,)."""
        released = np.concatenate([self._held, self._rest])
        self._position += len(self._rest)
        self._released_samples += len(self._rest)
        self._held = self._rest = np.empty(0, dtype=np.float32)
        self._end()
        return released

    def _hear(self, block: Samples, likelihood: float) -> Sequence[TurnPiece]:
        self._position += len(block)
        if self.is_speaking:
            return self._go_on(block, likelihood)
        self._speech_blocks = self._speech_blocks + 1 if likelihood >= self._begins_at else 0
        self._hold(block)
        if self._speech_blocks < ONSET_BLOCKS:
            return []
        began, self._held = self._held, np.empty(0, dtype=np.float32)
        self.is_speaking = True
        return [TurnBegan(self._position - len(began)), began]

    def _go_on(self, block: Samples, likelihood: float) -> Sequence[TurnPiece]:
        is_quiet = likelihood < self._lasts_at
        self._quiet_samples = self._quiet_samples + len(block) if is_quiet else 0
        if not is_quiet or self._quiet_samples < sample_count(self._settings.silence_s):
            return [block]
        self._end()
        return [block, TurnEnded(self._position)]

    def _end(self) -> None:
        self.is_speaking = False
        self._speech_blocks = self._quiet_samples = 0

    def _hold(self, block: Samples) -> None:
        kept = sample_count(self._settings.prefix_padding_s) + ONSET_BLOCKS * BLOCK_SAMPLES
        self._held = np.concatenate([self._held, block])[-kept:]
