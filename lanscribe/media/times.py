"""Decides which of the times that frames of sound have in their file are believed."""

from typing import Generic, TypeVar

_Item = TypeVar("_Item")

_LEAP_S = 1.0
"""A time that differs by more from the end of the frame before is not believed at once."""
_WITNESSES_S = 6.0
"""So much sound after a leap has to confirm it: damage changes the time of a packet, or of a
cluster of 5 s in Matroska."""
_LAST_LEAP_S = 30.0
_LAST_FRAMES = 3
"""At the end a leap is believed if it is not longer, or if so many frames confirm it."""
_SAME_S = 0.3
"""Times that are as near to those before a leap continue these."""
_UNTIMED_S = 2.0
"""A frame without a time waits so long for one; in a page of an Ogg, one frame has it."""


class FrameTimes(Generic[_Item]):
    """Frames with the times of the file in, the same frames with the times to believe out.

    A time of None means: directly after the frame before.
    """

    def __init__(self) -> None:
        self._held: list[tuple[_Item, float, float | None]] = []
        self._held_s = 0.0
        self._end_s: float | None = None
        """The end of the last frame that is out, by the times of the file."""

    def add(
        self, item: _Item, length_s: float, time_s: float | None, *, is_after_fault: bool = False
    ) -> list[tuple[_Item, float | None]]:
        """Take a frame; returns those that can be placed now."""
        out: list[tuple[_Item, float | None]] = []
        if self._held and is_after_fault and self._held[0][2] is None:
            out += self._released(is_believed=False)
        if self._held and time_s is not None:
            out += self._resolved(time_s)
        self._held.append((item, length_s, time_s))
        self._held_s += length_s
        if self._is_clear():
            out += self._released(is_believed=True)
        return out

    def flush(self) -> list[tuple[_Item, float | None]]:
        """The frames that are held, at the end of the file."""
        leap_s = self._leap_s() if self._held else None
        is_short = leap_s is not None and abs(leap_s) <= _LAST_LEAP_S
        return self._released(is_believed=is_short or len(self._held) >= _LAST_FRAMES)

    def _leap_s(self) -> float | None:
        """How far what is held begins from the end of what is out; None if nobody knows."""
        time_s = self._held[0][2]
        return None if time_s is None or self._end_s is None else time_s - self._end_s

    def _is_clear(self) -> bool:
        """Whether what is held need not be held any longer."""
        _, length_s, time_s = self._held[0]
        if time_s is None:
            return self._held_s > _UNTIMED_S
        leap_s = self._leap_s()
        return leap_s is None or abs(leap_s) <= _LEAP_S or self._held_s - length_s > _WITNESSES_S

    def _resolved(self, time_s: float) -> list[tuple[_Item, float | None]]:
        """What is held, if this time of the frame after it settles where it belongs."""
        item, length_s, first_s = self._held[0]
        if first_s is None:
            self._held[0] = (item, length_s, time_s - self._held_s)
            return self._released(is_believed=True)
        if self._end_s is not None and abs(time_s - self._held_s - self._end_s) <= _SAME_S:
            return self._released(is_believed=False)
        return []

    def _released(self, *, is_believed: bool) -> list[tuple[_Item, float | None]]:
        held, self._held, self._held_s = self._held, [], 0.0
        out: list[tuple[_Item, float | None]] = []
        for item, length_s, time_s in held:
            believed_s = time_s if is_believed else None
            start_s = self._end_s if believed_s is None else believed_s
            self._end_s = None if start_s is None else start_s + length_s
            out.append((item, believed_s))
        return out
