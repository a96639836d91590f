"""How far the text of a session is behind the voice, and when its client has to know."""

_AHEAD_S = 2.0
"""A sender that is further ahead of the clock than this is not live: it sends a recording."""


class LagMeter:
    """Follows what a client sends and what the engine has heard of it.

    Times are seconds of a clock that only goes forward; audio is counted from the first sample.
    threshold_s: a live client's lag from which on it is behind; it has caught up at half of it.
    """

    def __init__(self, threshold_s: float) -> None:
        self._threshold_s = threshold_s
        self._began_s: float | None = None
        self._received_s = 0.0
        self._heard_s = 0.0
        self._is_live = True
        self.is_behind = False

    @property
    def is_live(self) -> bool:
        """Whether what comes was never further ahead of the clock than a live sender is."""
        return self._is_live

    @property
    def lag_s(self) -> float:
        """How much audio was received and not yet heard."""
        return max(0.0, self._received_s - self._heard_s)

    def received(self, audio_s: float, now_s: float) -> bool:
        """So much audio was received in all; whether `is_behind` has changed."""
        if self._began_s is None:
            self._began_s = now_s
        self._received_s = audio_s
        self._is_live = self._is_live and audio_s <= now_s - self._began_s + _AHEAD_S
        return self._judge()

    def heard(self, audio_s: float) -> bool:
        """The engine has heard so much of all the audio; whether `is_behind` has changed."""
        self._heard_s = max(self._heard_s, audio_s)
        return self._judge()

    def _judge(self) -> bool:
        was_behind = self.is_behind
        bound_s = self._threshold_s / 2 if was_behind else self._threshold_s
        self.is_behind = self._is_live and self.lag_s > bound_s
        return self.is_behind != was_behind
