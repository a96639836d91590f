"""Why nothing was heard in some audio: digital silence, a level too low, or just no speech.

Decisions only, by the samples; see docs/protocol.md, "No speech".
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lanscribe.speech.audio import Samples, duration_s, sample_count

Cause = Literal["zeros", "quiet", "no_speech"]

SHORTEST_S = 0.5
"""Of less nobody expects a word: a button that was touched."""
QUIET_DBFS = -45.0
"""Speech is -40 to -15 dBFS where a microphone is set up; the noise of a room -75 to -50."""
MUTED_S = 10.0
"""So long nothing but zeros: no microphone that records sends that, a muted one does."""
_WINDOW_SAMPLES = sample_count(0.5)
_SMALLEST = 1e-10
"""-200 dBFS: the smallest level that is told."""


@dataclass(frozen=True, slots=True)
class NoSpeech:
    """Why no speech was heard, as likely as not.

    cause: zeros: each sample is 0; quiet: it is never louder than QUIET_DBFS; else no_speech.
    level_dbfs: of the loudest half second, the root of the mean square of its sound; None for
    zeros, which have no level.
    """

    cause: Cause
    level_dbfs: float | None = None


class Listener:
    """Follows the level of audio; cheap, and of constant size."""

    def __init__(self) -> None:
        self.samples = 0
        """How many were heard."""
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._loudest = 0.0
        self._is_zeros = True

    def add(self, samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        self.samples += len(samples)
        self._is_zeros = self._is_zeros and not samples.any()
        if self._is_zeros:
            return
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // _WINDOW_SAMPLES * _WINDOW_SAMPLES
        self._rest = samples[whole:].copy()
        self._measure(samples[:whole].reshape(-1, _WINDOW_SAMPLES))

    def no_speech(self) -> NoSpeech | None:
        """What to say when no word was heard; None when there is too little to say anything."""
        if duration_s(self.samples) < SHORTEST_S:
            return None
        if self._is_zeros:
            return NoSpeech("zeros")
        if 2 * len(self._rest) > _WINDOW_SAMPLES or not self._loudest:
            self._measure(self._rest[np.newaxis])
        level_dbfs = round(20 * math.log10(max(self._loudest, _SMALLEST)), 1)
        return NoSpeech("quiet" if level_dbfs < QUIET_DBFS else "no_speech", level_dbfs)

    def _measure(self, windows: Samples) -> None:
        """Windows of shape (m, n); a direct current is no sound."""
        if windows.size:
            self._loudest = max(self._loudest, float(windows.std(axis=1, dtype=np.float64).max()))


class MuteWatch:
    """Notices when audio has been nothing but zeros for MUTED_S; once until there is sound."""

    def __init__(self) -> None:
        self._zeros = 0
        self._is_told = False

    def add(self, samples: Samples) -> bool:
        """Take the next samples, shape (n,); whether it is time to say so."""
        sounds = np.flatnonzero(samples)
        if len(sounds):
            self._zeros, self._is_told = len(samples) - 1 - int(sounds[-1]), False
        else:
            self._zeros += len(samples)
        was_told, self._is_told = self._is_told, self._zeros >= sample_count(MUTED_S)
        return self._is_told and not was_told
