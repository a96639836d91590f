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
"""So many blocks of speech in a row begin a turn; fewer are a click."""
NEUTRAL_THRESHOLD = 0.5
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 0.05, 0.95
"""Beyond them everything, or nothing, would be speech."""
_HYSTERESIS = 0.15
"""So much less likely than at its beginning speech may be before a turn counts as silent."""
_LEAST_LIKELY = 0.01


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What makes a turn.

    threshold: 0 to 1; how likely a block has to be speech to begin a turn.
    prefix_padding_s: how much of the sound before the speech belongs to the turn.
    silence_s: how long it is quiet at the end of a turn; whole blocks, rounded up.
    """

    threshold: float = NEUTRAL_THRESHOLD
    prefix_padding_s: float = 0.3
    silence_s: float = 0.5


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """The sound that follows is a turn's, and its first sample is number `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn had its last sample before number `at`."""

    at: int


TurnPiece = TurnBegan | TurnEnded | Samples
"""A turn is a TurnBegan, samples, a TurnEnded."""


class Turns:
    """Leaves the turns of a stream, and holds back what may yet be the padding of the next.

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
        self._released_samples = 0  # of the block that is not judged yet
        self._speech_blocks = 0
        self._quiet_samples = 0

    def add(self, samples: Samples) -> list[TurnPiece]:
        """Take the next samples, shape (n,); what they make known."""
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
        """Give up the turn, if there is one, and what was held back: its samples, shape (n,)."""
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
