"""Finds when tokens were spoken: where in the sound the decoder looked while it chose them.

Moonshine's frames are 24 ms; n tokens, t frames. docs/benchmarks.md gives the reasons.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FRAME_S = 0.024
_LEAST_WEIGHT = 0.01
"""Attention below this has no meaning."""
_IGNORED_SHARE = 0.02
"""A word begins once it has had this much of its attention, which is not in the pause before."""


class Alignment:
    """Which frames belong to which token."""

    def __init__(self, attention: Floats) -> None:
        """attention: shape (n, t), each row the weights of the frames for one token."""
        self._attention = attention
        self._bounds = boundaries(attention)

    def span_s(self, first: int, stop: int) -> tuple[float, float]:
        """Where the tokens from `first` up to `stop` begin and end, in seconds."""
        start, end = int(self._bounds[first]), int(self._bounds[stop])
        weights = self._attention[first:stop, start:end].sum(axis=0).cumsum()
        if len(weights):
            start += int(np.searchsorted(weights, _IGNORED_SHARE * weights[-1]))
        return start * FRAME_S, end * FRAME_S


def boundaries(attention: Floats) -> npt.NDArray[np.int64]:
    """Cut the frames into one stretch for each token, in order: shape (n + 1,), 0 to t.

    The chosen cut has the greatest sum of the frames' log weights, each for its own token, found
    by dynamic programming, token after token over all frames at once.
    """
    tokens, frames = attention.shape
    logs = np.log(attention.astype(np.float64) + _LEAST_WEIGHT)
    best = np.full(frames + 1, -np.inf)  # best[i]: the sum when the tokens so far take i frames
    best[0] = 0.0
    starts = np.empty((tokens, frames + 1), dtype=np.int64)
    for token in range(tokens):
        sums = np.concatenate([[0.0], np.cumsum(logs[token])])
        before = best - sums
        most = np.maximum.accumulate(before)
        starts[token] = np.maximum.accumulate(np.where(before == most, np.arange(frames + 1), 0))
        best = sums + most
    bounds = np.full(tokens + 1, frames, dtype=np.int64)
    for token in reversed(range(tokens)):
        bounds[token] = starts[token, bounds[token + 1]]
    return bounds
