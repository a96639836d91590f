"""A buffer of samples that its caller bounds."""

import numpy as np

from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples

_BLOCK_SAMPLES = SAMPLE_RATE_HZ


class SampleRing:
    """A store of samples by their absolute index; its memory is proportional to their number.

    Small appends are merged into blocks of a second, so ten thousand appends of one sample
    cost as much as one append of ten thousand.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, Samples] = {}
        self.oldest = 0
        """The index of the oldest sample in store."""
        self.end = 0
        """The index of the next sample to come."""

    def __len__(self) -> int:
        """How many samples are in store."""
        return self.end - self.oldest

    def append(self, samples: Samples) -> None:
        """Add samples, shape (n,), at the end."""
        while len(samples):
            number, filled = divmod(self.end, _BLOCK_SAMPLES)
            if number not in self._blocks:
                self._blocks[number] = np.empty(_BLOCK_SAMPLES, dtype=np.float32)
            room = min(_BLOCK_SAMPLES - filled, len(samples))
            self._blocks[number][filled : filled + room] = samples[:room]
            self.end += room
            samples = samples[room:]

    def read(self, start: int) -> Samples:
        """Samples from index start on, shape (n,), n up to one second; (0,) at the end.

        Raises IndexError if they were dropped.
        """
        if not self.oldest <= start <= self.end:
            raise IndexError(f"sample {start} of {self.oldest} to {self.end}")
        if start == self.end:
            return np.empty(0, dtype=np.float32)
        number, offset = divmod(start, _BLOCK_SAMPLES)
        return self._blocks[number][offset : self.end - number * _BLOCK_SAMPLES]

    def forget(self, before: int) -> None:
        """Drop samples with an index less than before."""
        for number in range(self.oldest // _BLOCK_SAMPLES, before // _BLOCK_SAMPLES):
            self._blocks.pop(number, None)
        self.oldest = max(self.oldest, min(before, self.end))

    def take(self) -> Samples:
        """Read the oldest samples, shape (n,), and drop them."""
        block = self.read(self.oldest)
        self.forget(self.oldest + len(block))
        return block
