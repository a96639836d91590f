"""Finds sounds by their level: where they stand out of the noise of the room.

Levels are RMS of full scale; a frame is 50 ms. Positions are seconds from the first sample.
"""

from collections import deque

import numpy as np

from lanscribe.speech.audio import Samples, duration_s, sample_count

FRAME_S = 0.05
FRAME_SAMPLES = sample_count(FRAME_S)
FLOOR_WINDOW_S = 20.0
SOUND_OVER_FLOOR = 1.8
"""A sound is 5 dB above the quietest frame of the last seconds. Steady noise stays below (white
at most 1.5 dB, pink 4.2 dB in ten minutes); speech as loud as noise is above within 0.7 s."""
FAINTEST_LEVEL = 0.0003
"""Nothing below -70 dBFS is a sound; speech 40 dB below its usual level still is one."""
SOUND_WINDOW_FRAMES = 6
SOUND_FRAMES = 2
"""This many frames in the window make a sound; a single one is a click."""


class Floor:
    """The quietest of the last `count` levels."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._number = 0
        self._rising: deque[tuple[int, float]] = (
            deque()
        )  # each the lowest of all after the one before

    def after(self, level: float) -> float:
        """Add a level; returns the new floor."""
        while self._rising and self._rising[-1][1] >= level:
            self._rising.pop()
        self._rising.append((self._number, level))
        if self._rising[0][0] <= self._number - self._count:
            self._rising.popleft()
        self._number += 1
        return self._rising[0][1]


class Sounds:
    """Finds sounds by level, frame by frame."""

    def __init__(self) -> None:
        self._floor = Floor(round(FLOOR_WINDOW_S / FRAME_S))
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._loud: deque[bool] = deque(maxlen=SOUND_WINDOW_FRAMES)
        self._frames = 0
        self._loud_end_s = 0.0
        self.end_s = 0.0
        """Where the last loud frame of a sound ended; 0 before the first."""

    def add(self, samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:]
        for level in levels(samples[:whole].reshape(-1, FRAME_SAMPLES)):
            self._hear(level)

    def _hear(self, level: float) -> None:
        self._frames += 1
        is_loud = level >= max(self._floor.after(level) * SOUND_OVER_FLOOR, FAINTEST_LEVEL)
        self._loud.append(is_loud)
        if is_loud:
            self._loud_end_s = duration_s(self._frames * FRAME_SAMPLES)
        if sum(self._loud) >= SOUND_FRAMES:
            self.end_s = self._loud_end_s


def levels(frames: Samples) -> list[float]:
    """The level of each frame, shape (frames, samples)."""
    energy = np.einsum("ij,ij->i", frames, frames)
    found: list[float] = np.sqrt(energy / frames.shape[1]).tolist()
    return found
