"""What the microphone of the browsers hears: real speech, then a pause, again and again."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile

from lanscribe import PROJECT_DIR

SPEECH = PROJECT_DIR / "models/samples/beckett.wav"
WORDS = [
    "ever",
    "tried",
    "ever",
    "failed",
    "no",
    "matter",
    "try",
    "again",
    "fail",
    "again",
    "fail",
    "better",
]
"""What is said in it, each time."""
PAUSE_S = 1.5


def write_recording(path: Path) -> None:
    """Write it (WAV)."""
    assert SPEECH.exists(), "the model is missing; run: bash setup.sh"
    samples, rate_hz = soundfile.read(SPEECH, dtype="int16")
    pause = np.zeros(round(PAUSE_S * rate_hz), dtype=np.int16)
    soundfile.write(path, np.concatenate([samples, pause]), rate_hz, subtype="PCM_16")


def misheard(words: Sequence[str]) -> list[tuple[str, str]]:
    """Words that are others than the recording's at their place, from its start on, with those.

    A lost or doubled word would move all that follow. "fail" and "failed" count as the same: after
    a pause the model takes one for the other. The last word may be cut off by the end.
    """
    spoken = cycle(WORDS)
    pairs = zip(words[:-1], spoken, strict=False)
    return [(heard, said) for heard, said in pairs if heard[:4] != said[:4]]
