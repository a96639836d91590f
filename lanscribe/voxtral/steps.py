"""Voxtral's step: the audio that one token of vLLM's prompt covers."""

import math

STEP_MS = 80
STEP_S = STEP_MS / 1000


def steps_of(audio_s: float) -> int:
    """How many steps this much audio takes; the last one may be partial."""
    return math.ceil(audio_s / STEP_S)
