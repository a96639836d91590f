"""Where a speaker's turns begin and end in a stream of sound.

Decisions only, by level over the noise of the room (`rollover.Loudness`), in frames of 50 ms.
Positions count samples from the first of the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lanscribe.audio import Samples, duration_s, sample_count
from lanscribe.rollover import FRAME_S, FRAME_SAMPLES, Loudness, NoiseFloor

ONSET_FRAMES = 2
"""So many loud frames in a row begin a turn; one alone is a click."""
NEUTRAL_THRESHOLD = 0.5
_THRESHOLD_DB = 24.0
"""How much louder speech has to be at a threshold of 1 than at 0."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What makes a turn.

    threshold: 0 to 1; more asks for louder speech, by 2.4 dB for each 0.1. It moves the levels
    that are silence or speech in any room; how far speech is above the noise of this one stays.
    prefix_padding_s: how much of the sound before the speech belongs to the turn.
    silence_s: how long it is quiet at the end of a turn; whole frames.
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

    start: the number of the first sample to come.
    is_speaking: whether a turn has begun before it.
    """

    def __init__(self, settings: TurnSettings, start: int, *, is_speaking: bool = False) -> None:
        self._settings = settings
        self.is_speaking = is_speaking
        """Whether a turn has begun and not ended."""
        self._gain = np.float32(
            10 ** ((NEUTRAL_THRESHOLD - settings.threshold) * _THRESHOLD_DB / 20)
        )
        self._loudness = Loudness(duration_s(start), settings.silence_s + FRAME_S, NoiseFloor())
        self._held: Samples = np.empty(0, dtype=np.float32)
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._position = start
        self._loud_frames = 0

    def add(self, samples: Samples) -> list[TurnPiece]:
        """Take the next samples, shape (n,); what they make known."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:]
        pieces: list[TurnPiece] = []
        for frame in samples[:whole].reshape(-1, FRAME_SAMPLES):
            pieces += self._hear(frame)
        return pieces

    def release(self) -> Samples:
        """Give up the turn, if there is one, and what was held back: its samples, shape (n,)."""
        released = np.concatenate([self._held, self._rest])
        self._position += len(self._rest)
        self._held = self._rest = np.empty(0, dtype=np.float32)
        self._end()
        return released

    def _hear(self, frame: Samples) -> Sequence[TurnPiece]:
        self._position += FRAME_SAMPLES
        self._loudness.add(frame * self._gain)
        pause_s = self._loudness.pause_s()
        if self.is_speaking:
            if pause_s < self._settings.silence_s - FRAME_S / 2:
                return [frame]
            self._end()
            return [frame, TurnEnded(self._position)]
        self._loud_frames = 0 if pause_s else self._loud_frames + 1
        self._hold(frame)
        if self._loud_frames < ONSET_FRAMES:
            return []
        began, self._held = self._held, np.empty(0, dtype=np.float32)
        self.is_speaking = True
        return [TurnBegan(self._position - len(began)), began]

    def _end(self) -> None:
        self.is_speaking = False
        self._loud_frames = 0

    def _hold(self, frame: Samples) -> None:
        kept = sample_count(self._settings.prefix_padding_s) + ONSET_FRAMES * FRAME_SAMPLES
        self._held = np.concatenate([self._held, frame])[-kept:]
