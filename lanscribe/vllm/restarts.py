"""When to restart a program that has failed, and when to stop trying. Pure."""

from collections import deque

from lanscribe.backoff import Backoff


class RestartSchedule:
    """Waits longer after each failure; stops restarts after too many failures in too short a time.

    most_failures: this many failures within `within_s` seconds are too many.
    """

    def __init__(
        self,
        *,
        most_failures: int = 5,
        within_s: float = 1800.0,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
        sound_after_s: float = 60.0,
    ) -> None:
        self._most_failures = most_failures
        self._within_s = within_s
        self._backoff = Backoff(first_wait_s, longest_wait_s)
        self._sound_after_s = sound_after_s
        self._failed_at_s: deque[float] = deque()

    def failed(self, now_s: float, *, served_s: float = 0.0) -> float | None:
        """Note a failure; return the seconds to wait before the next start, None for no restart.

        served_s: how long the program served since its last start. After `sound_after_s` it
        deserves another start; earlier failures no longer count.
        """
        if served_s >= self._sound_after_s:
            self._failed_at_s.clear()
        self._failed_at_s.append(now_s)
        while self._failed_at_s[0] < now_s - self._within_s:
            self._failed_at_s.popleft()
        count = len(self._failed_at_s)
        return None if count >= self._most_failures else self._backoff.pause_s(count)
