"""Pure arithmetic on sound: decoding PCM, level, duration, a bounded-by-caller sample buffer.

From the moment it is decoded, audio is 16 kHz mono float32 in [-1, 1): `Samples`, shape (n,).
"""

from collections import deque

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio, shape (n,), 16 kHz, mono, float32 in [-1, 1)."""

SAMPLE_RATE_HZ = 16_000
BYTES_PER_PCM16_SAMPLE = 2
_FULL_SCALE = 32_768.0
_BLOCK_SAMPLES = SAMPLE_RATE_HZ


def duration_s(sample_count: int) -> float:
    """Seconds that `sample_count` samples last."""
    return sample_count / SAMPLE_RATE_HZ


def sample_count(seconds: float) -> int:
    """How many samples last `seconds`, rounded to the nearest."""
    return round(seconds * SAMPLE_RATE_HZ)


def pcm16_to_samples(data: bytes) -> Samples:
    """Decode little-endian 16-bit PCM, 16 kHz, mono; n*2 bytes give shape (n,).

    Raises ValueError when `data` is empty or not a whole number of samples.
    """
    if not data:
        raise ValueError("got no audio bytes")
    if len(data) % BYTES_PER_PCM16_SAMPLE:
        raise ValueError(f"got {len(data)} bytes, which is not a whole number of 16-bit samples")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def samples_to_pcm16(samples: Samples) -> bytes:
    """Encode to little-endian 16-bit PCM; values outside [-1, 1) are clipped."""
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return bytes(scaled.astype("<i2"))


class SampleBuffer:
    """A first-in, first-out store of samples whose memory follows their number.

    Small appends are merged into blocks of a second, so that ten thousand appends of one
    sample cost what one append of ten thousand does.
    """

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._filled = 0
        self._count = 0

    def __len__(self) -> int:
        """How many samples are in store."""
        return self._count

    def append(self, samples: Samples) -> None:
        """Add samples, shape (n,), at the end."""
        self._count += len(samples)
        while len(samples):
            if not self._blocks or self._filled == _BLOCK_SAMPLES:
                self._blocks.append(np.empty(_BLOCK_SAMPLES, dtype=np.float32))
                self._filled = 0
            room = min(_BLOCK_SAMPLES - self._filled, len(samples))
            self._blocks[-1][self._filled : self._filled + room] = samples[:room]
            self._filled += room
            samples = samples[room:]

    def pop_block(self) -> Samples:
        """Take the oldest samples, shape (n,), n up to one second; (0,) when there are none."""
        if not self._blocks:
            return np.empty(0, dtype=np.float32)
        block = self._blocks.popleft()
        if not self._blocks:
            block = block[: self._filled]
            self._filled = 0
        self._count -= len(block)
        return block
