"""Brings several tracks of one recording together, sample by sample."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.mixing import Channels

_STEP = sample_count(0.5)


def together(tracks: Sequence[Iterator[Piece]]) -> Iterator[Channels | Missing]:
    """The sound of all tracks, shape (tracks, n), as long as the longest, and what any misses."""
    lanes = [_Lane(track) for track in tracks]
    while True:
        for lane in lanes:
            yield from lane.fill()
        count = min(_STEP, max(lane.count for lane in lanes))
        if not count:
            return
        yield np.stack([lane.take(count) for lane in lanes])


class _Lane:
    """One track with silence for what is missing in it and after its end."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._sound: Samples = np.empty(0, dtype=np.float32)
        self._silence = 0

    @property
    def count(self) -> int:
        """How many samples are at hand."""
        return len(self._sound)

    def fill(self) -> Iterator[Missing]:
        """Read until a step is at hand, or the end is reached; what is missing is yielded."""
        while len(self._sound) < _STEP:
            if self._silence:
                count = min(self._silence, _STEP - len(self._sound))
                self._silence -= count
                self._sound = np.pad(self._sound, (0, count))
                continue
            piece = next(self._pieces, None)
            if piece is None:
                return
            if isinstance(piece, Missing):
                self._silence = sample_count(piece.skipped_s)
                yield replace(piece, skipped_s=0.0)
            elif not isinstance(piece, About):
                self._sound = np.concatenate([self._sound, piece])

    def take(self, count: int) -> Samples:
        """The next samples, shape (count,), with zeros after the end."""
        taken, self._sound = self._sound[:count], self._sound[count:]
        return np.pad(taken, (0, count - len(taken)))
