"""Chooses the upload that is displaced for another: a decision with the time as an argument."""

from collections.abc import Iterable
from dataclasses import dataclass

_GRACE_S = 1.0
_SLOW_BYTES_PER_S = 64_000
"""Twice the rate of speech in 16-bit samples; Wi-Fi at the end of the garden is faster."""
_LONG_S = 60.0
_SLOW_FOR_LONG_BYTES_PER_S = 1_000_000
"""The least rate after a minute: an upload that takes longer has to be a large one."""


@dataclass(eq=False)
class Upload:
    """An upload that has a place."""

    began_s: float
    received_bytes: int = 0
    is_whole: bool = False
    is_displaced: bool = False
    """Whether it has lost its place to another upload."""

    def is_slow(self, now_s: float) -> bool:
        """Whether it is slow enough to be displaced."""
        elapsed_s = now_s - self.began_s
        if self.is_whole or self.is_displaced or elapsed_s < _GRACE_S:
            return False
        least = _SLOW_BYTES_PER_S if elapsed_s < _LONG_S else _SLOW_FOR_LONG_BYTES_PER_S
        return self.received_bytes < least * elapsed_s

    def rate(self, now_s: float) -> float:
        """Bytes per second so far."""
        return self.received_bytes / max(now_s - self.began_s, _GRACE_S)


def slowest(uploads: Iterable[Upload], now_s: float) -> Upload | None:
    """The slowest upload that may be displaced; None if there is none."""
    slow = [upload for upload in uploads if upload.is_slow(now_s)]
    return min(slow, key=lambda upload: upload.rate(now_s), default=None)
