"""The threads behind the queue of deadlines."""

import gc
import os
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError

import pytest

from lanscribe.engines.embedded.deadlines import MOST_AHEAD_S, Due
from lanscribe.engines.embedded.workers import WorkerPool

DEADLINE_S = 20


@pytest.fixture
def one_thread() -> WorkerPool:
    return WorkerPool(1)


def far() -> Due:
    """When the audio of a file that is well ahead of its time is due."""
    return Due(time.monotonic() + MOST_AHEAD_S, is_ahead=True)


def test_a_file_is_heard_while_speakers_keep_coming(one_thread: WorkerPool) -> None:
    file_is_done = threading.Event()

    def speech() -> None:
        if not file_is_done.is_set():
            one_thread.submit(speech)

    one_thread.submit(speech).result(DEADLINE_S)
    one_thread.submit(file_is_done.set, far())
    assert file_is_done.wait(DEADLINE_S)
    one_thread.close()


def test_a_speaker_does_not_wait_for_the_long_job_of_a_file(one_thread: WorkerPool) -> None:
    gate, runs = threading.Event(), threading.Event()

    def long_job() -> bool:
        runs.set()
        return gate.wait(DEADLINE_S)

    one_thread.submit(lambda: None).result(DEADLINE_S)
    file = one_thread.submit(long_job, far())
    assert runs.wait(DEADLINE_S)
    assert one_thread.submit(lambda: "heard").result(DEADLINE_S) == "heard"
    assert not file.done()
    gate.set()
    assert file.result(DEADLINE_S)
    one_thread.close()


def test_a_file_is_heard_though_nobody_has_ever_spoken(one_thread: WorkerPool) -> None:
    assert one_thread.submit(lambda: "heard", far()).result(DEADLINE_S) == "heard"
    one_thread.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_files_have_a_lower_priority_than_speakers(one_thread: WorkerPool) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    speaker = one_thread.submit(priority).result(DEADLINE_S)
    assert speaker == os.getpriority(os.PRIO_PROCESS, 0)
    assert one_thread.submit(priority, far()).result(DEADLINE_S) > speaker
    one_thread.close()


def test_what_a_job_returns_or_raises_reaches_its_future(one_thread: WorkerPool) -> None:
    good = one_thread.submit(lambda: 7)
    bad = one_thread.submit(lambda: 1 // 0)
    assert good.result(DEADLINE_S) == 7
    with pytest.raises(ZeroDivisionError):
        bad.result(DEADLINE_S)
    one_thread.close()


def test_a_cancelled_job_does_not_run(one_thread: WorkerPool) -> None:
    gate, ran = threading.Event(), threading.Event()
    first = one_thread.submit(lambda: gate.wait(DEADLINE_S))
    second = one_thread.submit(ran.set)
    assert second.cancel()
    gate.set()
    assert first.result(DEADLINE_S)
    one_thread.close()
    assert not ran.is_set()


def test_close_cancels_what_waits_and_finishes_what_runs(one_thread: WorkerPool) -> None:
    gate, runs = threading.Event(), threading.Event()

    def running() -> str:
        runs.set()
        gate.wait(DEADLINE_S)
        return "done"

    first = one_thread.submit(running)
    assert runs.wait(DEADLINE_S)
    second = one_thread.submit(lambda: "never")
    closing = threading.Thread(target=one_thread.close)
    closing.start()
    with pytest.raises(CancelledError):
        second.result(DEADLINE_S)
    gate.set()
    closing.join(DEADLINE_S)
    assert first.result(DEADLINE_S) == "done"
    with pytest.raises(RuntimeError, match="after close"):
        one_thread.submit(lambda: None)


class Heavy:
    """Something whose memory is worth getting back."""

    def touch(self) -> None:
        """A job."""


def test_an_idle_thread_keeps_nothing_of_its_last_job_alive(one_thread: WorkerPool) -> None:
    heavy = Heavy()
    watched = weakref.ref(heavy)
    one_thread.submit(heavy.touch).result(DEADLINE_S)
    del heavy
    one_thread.submit(lambda: None).result(DEADLINE_S)
    gc.collect()
    assert watched() is None
    one_thread.close()
