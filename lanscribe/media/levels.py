"""Finds the scale of floating-point samples: most programs use [-1, 1], some that of integers."""

import numpy as np
import numpy.typing as npt

_SCALES = (2.0**15, 2.0**23, 2.0**31)
_LOUD = 16.0
"""24 dB over full scale: no program lets so many samples get there in the scale of [-1, 1]."""
_SHARE = 0.01


class FloatScale:
    """The scale of one stream of sound; once it is known to be that of integers, it stays so."""

    def __init__(self) -> None:
        self._scale = 1.0

    def applied(
        self, channels: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """The sound in [-1, 1], shape (channels, n), and which of n samples were not numbers.

        These are 0 in it.
        """
        is_wrong: npt.NDArray[np.bool_] = np.any(~np.isfinite(channels), axis=0)
        if is_wrong.any():
            channels = np.where(np.isfinite(channels), channels, np.float32(0))
        sizes = np.abs(channels)
        most = sizes.max(initial=0)
        if most < 1 and self._scale == 1:
            return channels, is_wrong
        scale = self._scale
        if _is_of_integers(channels, sizes):
            usual = float(np.quantile(sizes, 1 - _SHARE / 10))
            scale = max(scale, next((one for one in _SCALES if usual <= 1.01 * one), _SCALES[-1]))
        if most > 1:  # a single 1 among zeros may also be a click of the usual scale
            self._scale = scale
        scaled: npt.NDArray[np.float32] = channels / np.float32(scale)
        return scaled, is_wrong


def _is_of_integers(channels: npt.NDArray[np.float32], sizes: npt.NDArray[np.float32]) -> bool:
    """Whether samples have the scale of integers: they are whole numbers, or many are large."""
    if np.array_equal(channels, np.rint(channels)):
        return bool(sizes.max() >= 1)
    return bool(np.mean(sizes > _LOUD) > _SHARE)
