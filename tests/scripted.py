"""A detector of speech that says what it is told to."""

from collections.abc import Sequence

from lanscribe.speech.audio import Samples
from lanscribe.speech.detection import BLOCK_SAMPLES, Likelihood, SpeechStream


class Scripted(SpeechStream):
    """Says of each block what it was told to."""

    def __init__(self, likelihoods: Sequence[Likelihood]) -> None:
        self._likelihoods = likelihoods
        self._samples = 0

    def add(self, samples: Samples) -> list[Likelihood]:
        before, self._samples = self._samples, self._samples + len(samples)
        return list(self._likelihoods[before // BLOCK_SAMPLES : self._samples // BLOCK_SAMPLES])


def likely(*values: float) -> list[Likelihood]:
    """Blocks that are speech with these likelihoods, whichever way they are looked at."""
    return [Likelihood(value, value) for value in values]
