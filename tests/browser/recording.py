"""What the microphone of the browsers hears: real speech, then a pause, again and again."""

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
