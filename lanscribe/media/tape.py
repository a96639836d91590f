"""Turns decoded sound of any rate, channels and level into pieces at 16 kHz, with their places."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lanscribe.media.levels import FloatScale
from lanscribe.media.pieces import Missing, Piece, Unreadable
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, clipped
from lanscribe.speech.mixing import Mixer, weights_of
from lanscribe.speech.resampler import Resampler

PAUSE_S = 1.0
"""Of a hole that is longer, this much is heard as silence, and the rest is left out: a pause
separates two sentences and costs the engine nothing."""
_BLOCK_S = 0.5
_BLOCK_VALUES = 2**18

Form = tuple[int, tuple[str, ...]]
"""The rate in Hz and the names of the channels."""


class Tape:
    """A recording as far as it is read: decoded sound in, pieces out."""

    def __init__(self) -> None:
        self.at_s = 0.0
        """How long the recording is so far, with what is missing in it."""
        self.has_sound = False
        self._form: Form = (0, ())
        self._mixer = Mixer(SAMPLE_RATE_HZ)
        self._resampler = Resampler(SAMPLE_RATE_HZ)
        self._scale = FloatScale()
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._count = 0
        self._ready: list[Samples] = []
        self._ready_count = 0

    def add(
        self, channels: npt.NDArray[np.float32], rate_hz: int, names: Sequence[str]
    ) -> Iterator[Piece]:
        """Add decoded sound, shape (channels, n), with the names of its channels, such as FL.

        Raises Unreadable if the rate cannot be resampled.
        """
        form = (rate_hz, (str(len(channels)), *names))
        if form != self._form:
            yield from self._settle()
            self._mixer = Mixer(rate_hz, weights_of(names))
            self._resampler = _resampler(rate_hz)
            self._form = form
        self._waiting.append(channels)
        self._count += channels.shape[1]
        if self._count >= _BLOCK_S * rate_hz or self._count * len(channels) >= _BLOCK_VALUES:
            yield from self._mix()

    def miss(
        self, code: Literal["damaged", "gap"], why: str, length_s: float, *, is_told: bool = True
    ) -> Iterator[Piece]:
        """Add a part without sound: silence of up to PAUSE_S, and of what is longer nothing."""
        yield from self._mix()
        start_s, paused_s = self.at_s, min(length_s, PAUSE_S)
        silence = np.zeros(round(paused_s * self._rate_hz), dtype=np.float32)
        yield from self._write(self._resampler.feed(silence), len(silence) / self._rate_hz)
        skipped_s = max(0.0, length_s - PAUSE_S)
        if skipped_s:
            yield from self.flush()
            self.at_s += skipped_s
        if is_told:
            yield Missing(start_s, start_s + length_s, code, why, skipped_s)

    def flush(self) -> Iterator[Piece]:
        """The sound that was held back; what is added next is a new stream."""
        yield from self._settle()
        if self._ready_count:
            yield np.concatenate(self._ready)
            self._ready, self._ready_count = [], 0

    @property
    def time_s(self) -> float:
        """How long the recording is with the sound that was not yet mixed."""
        return self.at_s + self._count / self._rate_hz

    @property
    def _rate_hz(self) -> int:
        return self._form[0] or SAMPLE_RATE_HZ

    def _settle(self) -> Iterator[Piece]:
        yield from self._mix()
        yield from self._write(self._resampler.flush(), 0.0)

    def _mix(self) -> Iterator[Piece]:
        if not self._count:
            return
        channels = np.concatenate(self._waiting, axis=1)
        self._waiting, self._count = [], 0
        start_s, length_s = self.at_s, channels.shape[1] / self._rate_hz
        channels, is_wrong = self._scale.applied(channels)
        mono = clipped(self._mixer.feed(channels))
        yield from self._write(self._resampler.feed(mono), length_s)
        if is_wrong.any():
            first, last = np.flatnonzero(is_wrong)[[0, -1]] / self._rate_hz
            yield Missing(start_s + first, start_s + last, "damaged", "samples are not numbers")

    def _write(self, samples: Samples, length_s: float) -> Iterator[Piece]:
        self.at_s += length_s
        if not len(samples):
            return
        self.has_sound = True
        self._ready.append(samples)
        self._ready_count += len(samples)
        if self._ready_count >= _BLOCK_S * SAMPLE_RATE_HZ:
            yield np.concatenate(self._ready)
            self._ready, self._ready_count = [], 0


def _resampler(rate_hz: int) -> Resampler:
    try:
        return Resampler(rate_hz)
    except ValueError as error:
        raise Unreadable(str(error)) from error
