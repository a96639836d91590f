"""Pure arithmetic on sound: durations, pieces, PCM to send.

From the moment it is decoded, audio is 16 kHz mono float32 in [-1, 1): `Samples`, shape (n,).
The two terminal clients carry a copy: after a change run `.venv/bin/python -m clients.generate`.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio, shape (n,), 16 kHz, mono, float32 in [-1, 1)."""

SAMPLE_RATE_HZ = 16_000
PIECE_S = 0.25
"""The length of sound handled at a time: searching it for speech takes a millisecond or two."""
_FULL_SCALE = 32_768.0
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def duration_s(sample_count: int) -> float:
    """Seconds that `sample_count` samples last."""
    return sample_count / SAMPLE_RATE_HZ


def sample_count(seconds: float) -> int:
    """How many samples last `seconds`, rounded to the nearest."""
    return round(seconds * SAMPLE_RATE_HZ)


def in_pieces(samples: Samples) -> Iterator[Samples]:
    """The samples, shape (n,), in pieces of PIECE_S at most."""
    step = sample_count(PIECE_S)
    return (samples[start : start + step] for start in range(0, len(samples), step))


def clipped(samples: Samples) -> Samples:
    """The samples, shape (n,), clipped to [-1, 1)."""
    return np.clip(samples, np.float32(-1), _BELOW_ONE)


def samples_to_pcm16(samples: Samples) -> bytes:
    """Encode samples, shape (n,), to n*2 bytes of little-endian PCM, clipped to [-1, 1)."""
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return bytes(scaled.astype("<i2"))
