"""A pool of threads that treats everybody fairly, and those who are on time a little better."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_URGENT_RUN = 3
"""So many urgent jobs in a row may pass a patient one."""


class FairQueue(Generic[T]):
    """First in, first out, in two lines; the patient line moves at least every fourth time.

    A session has at most one job in here, so that first in, first out is taking turns. Urgent
    are those of speakers who wait for their words; patient are those of files and of sessions
    that have fallen behind. Without urgent ones the patient have all, and the other way round.
    """

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._patient: deque[T] = deque()
        self._urgent_in_a_row = 0

    def __len__(self) -> int:
        """How many are waiting."""
        return len(self._urgent) + len(self._patient)

    def put(self, item: T, *, is_urgent: bool) -> None:
        """Stand at the end of a line."""
        (self._urgent if is_urgent else self._patient).append(item)

    def take(self) -> T:
        """Whose turn it is. Raises IndexError when nobody waits."""
        if self._urgent and not (self._patient and self._urgent_in_a_row >= _URGENT_RUN):
            self._urgent_in_a_row += 1
            return self._urgent.popleft()
        self._urgent_in_a_row = 0
        return self._patient.popleft()


class WorkerPool:
    """Threads that run jobs in fair order."""

    def __init__(self, threads: int) -> None:
        self._queue: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    def submit(self, job: Callable[[], T], *, is_urgent: bool = True) -> Future[T]:
        """Queue a job. Raises RuntimeError when the pool is closed."""
        future: Future[T] = Future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("submit() after close()")
            self._queue.put((future, job), is_urgent=is_urgent)
            self._changed.notify()
        return future

    def close(self) -> None:
        """Cancel the jobs that wait and end the threads once theirs are done."""
        with self._changed:
            self._is_closed = True
            while len(self._queue):
                self._queue.take()[0].cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (next_job := self._next()) is not None:
            future, job = next_job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001  whoever waits for the job gets it
                future.set_exception(error)
            else:
                future.set_result(result)
            del next_job, future, job  # a waiting thread must not keep a session's memory

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) or self._is_closed)
            return self._queue.take() if len(self._queue) else None
