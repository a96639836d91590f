"""How long to wait before trying again what has failed, ever longer. Pure."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 64
"""Whatever is doubled so often is longer than the longest pause; more would be no float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, each twice as long as the one before, up to the longest."""

    first_s: float
    longest_s: float

    def pause_s(self, number: int) -> float:
        """The pause with this number: 1, 2, 3, ...; number 0 is none, to try again at once."""
        if number <= 0:
            return 0.0
        return min(self.first_s * 2.0 ** min(number - 1, _MOST_DOUBLINGS), self.longest_s)
