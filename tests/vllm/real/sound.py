"""Sound that a random model hears something in: chords that change, rests, noise."""

import numpy as np

from lanscribe.speech.audio import Samples

SAMPLE_RATE_HZ = 16_000
NOTE_SAMPLES = 2560
"""160 ms: two tokens."""


def melody(duration_s: float, seed: int) -> Samples:
    """Always the same for the same seed, [duration_s * 16000]."""
    random = np.random.default_rng(seed)
    notes = round(duration_s * SAMPLE_RATE_HZ / NOTE_SAMPLES)
    return np.concatenate([_note(random) for _ in range(notes)])


def _note(random: np.random.Generator) -> Samples:
    """Four tones or none, with more or less noise, [NOTE_SAMPLES]."""
    time_s = np.arange(NOTE_SAMPLES) / SAMPLE_RATE_HZ
    frequencies_hz = np.exp(random.uniform(np.log(100), np.log(7000), size=(4, 1)))
    levels = random.uniform(0, 0.2, size=(4, 1)) * random.choice([0, 0.1, 1, 1, 1])
    tones = (levels * np.sin(2 * np.pi * frequencies_hz * time_s)).sum(axis=0)
    noise = random.normal(0, random.choice([0.001, 0.01, 0.05]), NOTE_SAMPLES)
    note: Samples = np.clip(tones + noise, -1, 1).astype(np.float32)
    return note
