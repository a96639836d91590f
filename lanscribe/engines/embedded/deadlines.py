"""Decides which job the threads run next: the earliest deadline first. No clock, no thread.

A session's audio is due at the speed of speech, counted from its arrival. So a speaker's audio is
due when it is spoken, and stays due while the server is late with it: the later the server, the
more urgent the speaker. A file comes faster than speech, so its audio is due in the future, and
it gets the time that speakers leave; once it is due, it is as urgent as they are.
"""

from bisect import insort
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_NEVER = float("inf")

MOST_AHEAD_S = 10.0
"""No audio is due later than this, so a file gets its turn after about 10 s at the latest, and a
stream that caught up with a gap counts as a speaker's again after as much speech."""
AHEAD_S = 3.0
"""A session whose last audio is due later than this is a file: no speaker is so far ahead."""
PATIENCE_S = 1.0
"""Prompt threads, too, take a file that is late by this."""
SPEAKING_S = 2.0
"""For this long after a speaker's last job, somebody counts as still speaking, or as late."""
LATE_S = 0.5
"""If a speaker's job is taken later than this, there is no time left for files."""
RATION_S = 1.0
"""Then all files together get one job in this time."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a job is due, and whether its session sends faster than anybody speaks."""

    deadline_s: float
    is_ahead: bool = False


class DueTime:
    """When the oldest waiting audio of a session is due. Waiting earns nothing."""

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def arrive(self, now_s: float) -> None:
        """Audio has come while none was waiting."""
        self._due_s = max(now_s, self._due_s)

    def take(self, seconds: float, waiting_s: float, now_s: float) -> Due:
        """Take the oldest `seconds`, which leave waiting_s of audio; returns when they are due.

        Time ahead is forgiven in part, so it never exceeds MOST_AHEAD_S. A file's lateness is
        forgiven, so files take turns however late they are.
        """
        is_ahead = self._due_s + seconds + waiting_s - now_s > AHEAD_S
        if is_ahead:
            self._due_s = max(self._due_s, now_s - PATIENCE_S)
        due = Due(self._due_s, is_ahead)
        forgiven = min(seconds / MOST_AHEAD_S, 1.0) * max(0.0, self._due_s - now_s)
        self._due_s += seconds - forgiven
        return due


class DeadlineQueue(Generic[T]):
    """Jobs by deadline, first in, first out among equal ones, for two kinds of threads.

    While somebody speaks, prompt threads take the jobs of speakers and of late files; patient
    threads take the jobs of files. So a speaker does not wait for a thread that is busy with a
    file's long job. While nobody speaks, prompt threads take everything.
    While a speaker is late, files get one job a second.
    """

    def __init__(self) -> None:
        self._speech: list[tuple[float, int, T]] = []
        self._files: list[tuple[float, int, T]] = []
        self._count = 0
        self._spoken_s = float("-inf")
        self._late_s = float("-inf")
        self._file_s = float("-inf")

    def __len__(self) -> int:
        """How many jobs are waiting."""
        return len(self._speech) + len(self._files)

    def put(self, item: T, due: Due, now_s: float) -> None:
        """Queue a job."""
        self._count += 1
        line = self._files if due.is_ahead else self._speech
        insort(line, (due.deadline_s, self._count, item), key=lambda job: job[:2])
        if not due.is_ahead:
            self._spoken_s = now_s

    def take(self, now_s: float, *, is_patient: bool = False) -> T | None:
        """Take the next job for such a thread; None while there is none."""
        has_file = bool(self._files) and self._file_wait_s(now_s, is_patient=is_patient) <= 0
        if has_file and (is_patient or not self._speech or self._files[0] < self._speech[0][:2]):
            self._file_s = now_s
            return self._files.pop(0)[2]
        if is_patient or not self._speech:
            return None
        deadline_s, _, item = self._speech.pop(0)
        if now_s - deadline_s > LATE_S:
            self._late_s = now_s
        return item

    def drain(self) -> list[T]:
        """Remove and return all jobs."""
        jobs = [job for _, _, job in self._speech + self._files]
        self._speech, self._files = [], []
        return jobs

    def wait_s(self, now_s: float, *, is_patient: bool = False) -> float | None:
        """How long until such a thread finds a job even if none comes; None for never."""
        wait_s = self._file_wait_s(now_s, is_patient=is_patient) if self._files else _NEVER
        return None if wait_s == _NEVER else max(wait_s, 0.0)

    def _file_wait_s(self, now_s: float, *, is_patient: bool) -> float:
        """How long until such a thread may take the first file's job, if nobody speaks again."""
        quiet_s = self._spoken_s + SPEAKING_S
        if is_patient:
            begins_s = now_s if now_s < quiet_s else _NEVER
        else:
            begins_s = min(self._files[0][0] + PATIENCE_S, quiet_s)
        if now_s < self._late_s + SPEAKING_S:
            begins_s = max(begins_s, self._file_s + RATION_S)
        return begins_s - now_s
