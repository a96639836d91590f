"""Threads that run jobs by deadline; jobs of files have a lower priority than those of speech.

deadlines.py decides which job is next. The patient threads have a lower priority in the
operating system: it stops them, even within a model's computation, when a speaker's job comes.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from lanscribe.engines.embedded.deadlines import DeadlineQueue, Due

T = TypeVar("T")

_NICER = 10
"""A thread that is nicer by this gets a tenth of the processor time of one that is not."""
_HAS_PRIORITIES = sys.platform == "linux"
"""Whether a single thread, rather than a process, can have a priority."""


class WorkerPool:
    """Threads that run jobs, and as many patient ones for those of files."""

    def __init__(self, threads: int) -> None:
        self._queue: DeadlineQueue[tuple[Future[Any], Callable[[], Any]]] = DeadlineQueue()
        self._changed = threading.Condition()
        self._is_closed = False
        self._prompt = [self._thread(index, is_patient=False) for index in range(threads)]
        patient = threads if _HAS_PRIORITIES else max(1, threads // 2)
        self._patient = [self._thread(index, is_patient=True) for index in range(patient)]
        for thread in self._prompt + self._patient:
            thread.start()

    @property
    def threads(self) -> int:
        """How many threads serve speech."""
        return len(self._prompt)

    def submit(self, job: Callable[[], T], due: Due | None = None) -> Future[T]:
        """Queue a job, due by the monotonic clock, or now. Raises RuntimeError after close()."""
        future: Future[T] = Future()
        now_s = time.monotonic()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("submit() after close()")
            self._queue.put((future, job), due or Due(now_s), now_s)
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """Cancel the waiting jobs, and end the threads once their jobs are done."""
        with self._changed:
            self._is_closed = True
            for future, _ in self._queue.drain():
                future.cancel()
            self._changed.notify_all()
        for thread in self._prompt + self._patient:
            thread.join()

    def _thread(self, index: int, *, is_patient: bool) -> threading.Thread:
        name = f"engine-{'patient-' if is_patient else ''}{index}"
        return threading.Thread(target=self._work, args=[is_patient], name=name, daemon=True)

    def _work(self, is_patient: bool) -> None:
        if is_patient:
            _lower_priority()
        while (next_job := self._next(is_patient)) is not None:
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

    def _next(self, is_patient: bool) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while not self._is_closed:
                now_s = time.monotonic()
                if (found := self._queue.take(now_s, is_patient=is_patient)) is not None:
                    return found
                self._changed.wait(self._queue.wait_s(now_s, is_patient=is_patient))
            return None


def _lower_priority() -> None:
    """Lower the priority of this thread, if the system allows it."""
    if _HAS_PRIORITIES:
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICER
            os.setpriority(os.PRIO_PROCESS, thread, nice)
