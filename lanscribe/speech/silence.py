"""Tells why nothing was heard in some audio: digital silence, a low level, or just no speech.

Decisions on samples only; see docs/protocol.md, "No speech".
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lanscribe.speech.audio import Samples, duration_s, sample_count

Cause = Literal["zeros", "quiet", "no_speech"]

SHORTEST_S = 0.5
"""Nobody expects a word from less audio, such as from a touched button."""
QUIET_DBFS = -45.0
"""With a microphone set up, speech is -40 to -15 dBFS; the noise of a room is -75 to -50."""
MUTED_S = 10.0
"""Only a muted microphone sends nothing but zeros for this long; a recording one never does."""
_WINDOW_SAMPLES = sample_count(0.5)
_SMALLEST = 1e-10
"""-200 dBFS: the lowest level that is reported."""


@dataclass(frozen=True, slots=True)
class NoSpeech:
    """The probable reason why no speech was heard.

    cause: zeros: each sample is 0; quiet: it is never louder than QUIET_DBFS; else no_speech.
    level_dbfs: the root mean square of the sound in the loudest half second; None for zeros,
    which have no level.
    """

    cause: Cause
    level_dbfs: float | None = None


class Listener:
    """Follows the level of audio; cheap, and of constant size."""

    def __init__(self) -> None:
        self.samples = 0
        """How many samples were heard."""
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
        """The reason if no word was heard; None if there is too little audio to judge."""
        if duration_s(self.samples) < SHORTEST_S:
            return None
        if self._is_zeros:
            return NoSpeech("zeros")
        if 2 * len(self._rest) > _WINDOW_SAMPLES or not self._loudest:
            self._measure(self._rest[np.newaxis])
        level_dbfs = round(20 * math.log10(max(self._loudest, _SMALLEST)), 1)
        return NoSpeech("quiet" if level_dbfs < QUIET_DBFS else "no_speech", level_dbfs)

    def _measure(self, windows: Samples) -> None:
        """Measure windows, shape (m, n); a direct current does not count as sound."""
        if windows.size:
            self._loudest = max(self._loudest, float(windows.std(axis=1, dtype=np.float64).max()))


class MuteWatch:
    """Notices that audio was nothing but zeros for MUTED_S; once, until there is sound again."""

    def __init__(self) -> None:
        self._zeros = 0
        self._is_told = False

    def add(self, samples: Samples) -> bool:
        """Take the next samples, shape (n,); returns whether to report it now."""
        sounds = np.flatnonzero(samples)
        if len(sounds):
            self._zeros, self._is_told = len(samples) - 1 - int(sounds[-1]), False
        else:
            self._zeros += len(samples)
        was_told, self._is_told = self._is_told, self._zeros >= sample_count(MUTED_S)
        return self._is_told and not was_told
