"""Sound at 24 kHz for the tests of OpenAI's protocol."""

from collections.abc import Sequence

import numpy as np
import soxr  # type: ignore[import-untyped]

from lanscribe.speech.audio import Samples, samples_to_pcm16


def spoken_at_24_khz(numbers: Sequence[int]) -> bytes:
    """PCM that resampling does not change where the fake engine listens.

    It listens at the beginning of each 80 ms; so numbers change half way between.
    """
    levels = np.repeat(np.array([0, *numbers, 0], dtype="<i2"), 1920)
    return levels[960:-960].tobytes()


def at_24_khz(samples: Samples) -> bytes:
    """16 kHz samples as PCM at 24 kHz."""
    return samples_to_pcm16(soxr.resample(samples, 16_000, 24_000))
