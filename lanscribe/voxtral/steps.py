"""The step in which Voxtral hears and writes, and vLLM counts sound: one token of its prompt."""

import math

STEP_MS = 80
STEP_S = STEP_MS / 1000


def steps_of(audio_s: float) -> int:
    """How many steps so much audio takes, the last one perhaps in part."""
    return math.ceil(audio_s / STEP_S)
