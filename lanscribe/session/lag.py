"""Judges whether a client sends live and whether its text is too far behind, without a clock."""

import math

_AHEAD_S = 2.0
"""A sender further ahead of the clock than this is not live: it sends a recording."""


class LagMeter:
    """Judges whether a client sends live and whether its text is behind; it stores no amounts.

    Times are seconds of a clock that only goes forward; audio is counted from the first sample.
    threshold_s: a live client is behind above this lag, and has caught up at half of it.
    """

    def __init__(self, threshold_s: float = math.inf) -> None:
        self._threshold_s = threshold_s
        self._began_s: float | None = None
        self._is_live = True
        self._is_behind = False

    @property
    def is_live(self) -> bool:
        """Whether the audio was never further ahead of the clock than a live sender's."""
        return self._is_live

    @property
    def is_behind(self) -> bool:
        """Whether the client is live and its lag was too large when last judged."""
        return self._is_behind

    def received(self, audio_s: float, now_s: float) -> None:
        """Note how much audio was received in all."""
        if self._began_s is None:
            self._began_s = now_s
        self._is_live = self._is_live and audio_s <= now_s - self._began_s + _AHEAD_S

    def judge(self, lag_s: float) -> bool:
        """Judge the present lag; returns whether `is_behind` has changed."""
        was_behind = self._is_behind
        bound_s = self._threshold_s / 2 if was_behind else self._threshold_s
        self._is_behind = self._is_live and lag_s > bound_s
        return self._is_behind != was_behind
