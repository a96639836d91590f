"""Converts samples at any rate that a recording may have to 16 kHz; libsoxr resamples.

The output stays in step with the input.
The two terminal clients carry a copy: after a change run `.venv/bin/python -m clients.generate`.
"""

import numpy as np
import soxr  # type: ignore[import-untyped]

from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples

LEAST_RATE_HZ = 1_000
MOST_RATE_HZ = 768_000


class Resampler:
    """One stream of sound, mono: samples at one rate in, samples at 16 kHz out.

    rate_hz: 1,000 to 768,000. Raises ValueError when it is out of range.
    """

    def __init__(self, rate_hz: float) -> None:
        if not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise ValueError(
                f"got a sample rate of {rate_hz:.6g} Hz; expected {LEAST_RATE_HZ} to {MOST_RATE_HZ}"
            )
        self._stream: soxr.ResampleStream | None = None
        if rate_hz != SAMPLE_RATE_HZ:
            self._stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """Resample the next samples, shape (n,) at the stream's rate, to shape (m,).

        Some of them are held back for the next call: up to 115 ms at 8 kHz, 37 ms at 24 kHz and
        above.
        """
        return self._resampled(samples)

    def flush(self) -> Samples:
        """The samples that are still to come, shape (m,); what is fed next is a new stream."""
        rest = self._resampled(np.empty(0, dtype=np.float32), is_last=True)
        if self._stream is not None:
            self._stream.clear()
        return rest

    def _resampled(self, samples: Samples, *, is_last: bool = False) -> Samples:
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=is_last)
        return resampled
