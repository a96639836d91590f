"""How long to wait before each retry, ever longer. Pure."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 64
"""After this many doublings any pause exceeds the longest one; more would overflow a float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts; each is twice as long as the one before, up to the longest."""

    first_s: float
    longest_s: float

    def pause_s(self, number: int) -> float:
        """The pause with this number: 1, 2, 3, ...; number 0 means to try again at once."""
        if number <= 0:
            return 0.0
        return min(self.first_s * 2.0 ** min(number - 1, _MOST_DOUBLINGS), self.longest_s)
