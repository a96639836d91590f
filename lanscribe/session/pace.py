"""How fast one client may send: decisions with the time as an argument."""

from math import inf

MESSAGES_AT_ONCE_S = 10
"""The burst that is allowed after a quiet time, in seconds' worth of messages."""


class TokenBucket:
    """Bounds a rate: an amount per second, and a burst after a quiet time."""

    def __init__(self, rate_per_s: float, burst: float, *, longest_wait_s: float = inf) -> None:
        """longest_wait_s: a debt beyond this many seconds is forgiven."""
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._least = -rate_per_s * longest_wait_s
        self._balance = burst
        self._then_s: float | None = None

    def take(self, amount: float, now_s: float) -> float:
        """Take `amount`; returns the seconds to wait before the next, 0 while enough is left.

        An amount above the burst is a debt like any other, up to the longest wait.
        """
        then_s = now_s if self._then_s is None else self._then_s
        self._then_s = now_s
        earned = (now_s - then_s) * self._rate_per_s
        balance = min(self._burst, self._balance + earned) - amount
        self._balance = max(self._least, balance)
        return max(0.0, -self._balance / self._rate_per_s)


class Pace:
    """How fast one client may send; a faster one is read later, and TCP slows it down."""

    def __init__(self, messages_per_s: float, bytes_per_s: float, message_bytes: int) -> None:
        self._messages = TokenBucket(messages_per_s, burst=MESSAGES_AT_ONCE_S * messages_per_s)
        self._bytes = TokenBucket(bytes_per_s, burst=max(bytes_per_s, message_bytes))

    def wait_s(self, length: int, now_s: float) -> float:
        """How long to wait after a message of this length; 0 for a client that keeps the pace."""
        return max(self._messages.take(1, now_s), self._bytes.take(length, now_s))
