"""Whether a client speaks live, and whether its text is too far behind: no clock of its own."""

import math

_AHEAD_S = 2.0
"""A sender that is further ahead of the clock than this is not live: it sends a recording."""


class LagMeter:
    """Judges how a client sends and how far its text is behind; it keeps neither amount.

    Times are seconds of a clock that only goes forward; audio is counted from the first sample.
    threshold_s: a live client's lag from which on it is behind; it has caught up at half of it.
    """

    def __init__(self, threshold_s: float = math.inf) -> None:
        self._threshold_s = threshold_s
        self._began_s: float | None = None
        self._is_live = True
        self._is_behind = False

    @property
    def is_live(self) -> bool:
        """Whether what comes was never further ahead of the clock than a live sender is."""
        return self._is_live

    @property
    def is_behind(self) -> bool:
        """Whether the lag of a live client is more than it should be, as last judged."""
        return self._is_behind

    def received(self, audio_s: float, now_s: float) -> None:
        """So much audio was received in all."""
        if self._began_s is None:
            self._began_s = now_s
        self._is_live = self._is_live and audio_s <= now_s - self._began_s + _AHEAD_S

    def judge(self, lag_s: float) -> bool:
        """The lag is so much now; whether `is_behind` has changed."""
        was_behind = self._is_behind
        bound_s = self._threshold_s / 2 if was_behind else self._threshold_s
        self._is_behind = self._is_live and lag_s > bound_s
        return self._is_behind != was_behind
