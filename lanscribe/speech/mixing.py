"""Mixes the channels of a recording or a microphone into one, so that no voice is lost in it.

The mean of two channels in opposite phase is silence, and a voice in one of forty channels is 32 dB
lower in it. So the mix is the sum of the channels, at the level of the loudest of them; if the sum
cancels, it is that channel alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Channels = npt.NDArray[np.float32]
"""Sound of several channels, shape (channels, n), float32."""
Gains = npt.NDArray[np.float64]
"""A factor for each channel, shape (channels,)."""

_WINDOW_S = 0.1
"""The gains change from window to window, and linearly within one."""
_HALF_LIFE_S = 0.5
"""Levels are averages in which a window counts half after this time."""
_CANCELLED = 0.1
"""The channels cancel if their sum has less than this share of the power of the loudest one."""
_SOFT = 1e-3
"""The share of the usual power up to which a window does not tell whether they cancel."""
_MUCH_LOUDER = 2.0
"""The ratio of powers at which another channel is taken instead of the one that is heard alone."""
_WEIGHTS = {"LFE": 0.0, "LFE2": 0.0, "FC": 1.0, "FL": 0.7, "FR": 0.7}
"""Of channels beside a centre, where films have their voices (ITU-R BS.775 has 0.7, too)."""
_WEIGHT_OF_OTHERS = 0.5


def weights_of(names: Sequence[str]) -> Gains | None:
    """The weights of channels by their names, such as FL, FR, FC, LFE; None if all weigh 1."""
    if "FC" not in names or len(names) < 3:
        return None
    return np.array([_WEIGHTS.get(name, _WEIGHT_OF_OTHERS) for name in names])


class Mixer:
    """One stream of several channels in, one channel out; nothing is held back."""

    def __init__(self, rate_hz: float, weights: Gains | None = None) -> None:
        """weights: of the channels, as `weights_of` has them."""
        self._rate_hz = rate_hz
        self._weights = weights if weights is not None else np.empty(0)
        self._powers: Gains = np.empty(0)
        self._mixed_power = 0.0
        self._is_cancelled = False
        """Whether the channels cancelled in the last window that was not soft."""
        self._gains: Gains | None = None
        self._alone: int | None = None
        """The channel that is heard alone."""

    def feed(self, channels: Channels) -> npt.NDArray[np.float32]:
        """Mix the next samples, shape (channels, n) with as many channels each time, to (n,)."""
        if len(channels) == 1:
            only: npt.NDArray[np.float32] = channels[0]
            return only
        step = max(1, round(_WINDOW_S * self._rate_hz))
        windows = [
            self._mix(channels[:, start : start + step])
            for start in range(0, channels.shape[1], step)
        ]
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.float32)

    def _mix(self, window: Channels) -> npt.NDArray[np.float32]:
        before = self._gains
        self._listen(window)
        if self._powers.max() > 0:
            self._gains = self._chosen()
        after = self._gains if self._gains is not None else np.ones(len(window))
        mixed: npt.NDArray[np.float32]
        if before is None or np.array_equal(before, after):
            mixed = (after @ window).astype(np.float32)
            return mixed
        steps = np.arange(1, window.shape[1] + 1) / window.shape[1]
        gains = before[:, np.newaxis] + (after - before)[:, np.newaxis] * steps
        mixed = (gains * window).sum(axis=0).astype(np.float32)
        return mixed

    def _listen(self, window: Channels) -> None:
        """Update the powers of the channels and of their sum by a window, shape (channels, n)."""
        if not len(self._powers):
            self._powers = np.zeros(len(window))
            self._weights = self._weights if len(self._weights) else np.ones(len(window))
        decay = 0.5 ** (window.shape[1] / (_HALF_LIFE_S * self._rate_hz))
        mixed = (self._weights @ window).astype(np.float64)
        powers = np.einsum("ij,ij->i", window, window, dtype=np.float64)
        mixed_power = float(mixed @ mixed)
        self._powers = decay * self._powers + powers
        self._mixed_power = decay * self._mixed_power + mixed_power
        if powers.max() > _SOFT * self._powers.max():
            loudest = int(np.argmax(powers * self._weights**2))
            was_cancelled = self._is_cancelled
            self._is_cancelled = mixed_power <= _CANCELLED * powers[loudest]
            if was_cancelled != self._is_cancelled:  # then what was before says nothing
                self._powers, self._mixed_power = powers, mixed_power

    def _chosen(self) -> Gains:
        """The gains for what was heard last."""
        powers, weights = self._powers, self._weights
        loudest = int(np.argmax(powers * weights**2))
        if not self._is_cancelled and self._mixed_power > _CANCELLED * powers[loudest]:
            self._alone = None
            gains: Gains = weights * np.sqrt(powers[loudest] / self._mixed_power)
            return gains
        loudest = int(np.argmax(powers))
        if self._alone is None or powers[loudest] > _MUCH_LOUDER * powers[self._alone]:
            self._alone = loudest
        alone = np.zeros(len(powers))
        alone[self._alone] = 1
        return alone
