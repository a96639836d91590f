"""The fair queue and the threads behind it."""

import gc
import threading
import weakref
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.engines.workers import FairQueue, WorkerPool

DEADLINE_S = 20


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_one_line_is_first_in_first_out() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in "abc":
        queue.put(name, is_urgent=False)
    assert drained(queue) == ["a", "b", "c"]


def test_urgent_jobs_pass_patient_ones_three_at_a_time() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in "pq":
        queue.put(name, is_urgent=False)
    for name in "abcdefg":
        queue.put(name, is_urgent=True)
    assert "".join(drained(queue)) == "abcpdefqg"


@given(st.lists(st.booleans(), max_size=60))
def test_nothing_is_lost_and_each_line_keeps_its_order(urgencies: list[bool]) -> None:
    queue: FairQueue[tuple[bool, int]] = FairQueue()
    for index, is_urgent in enumerate(urgencies):
        queue.put((is_urgent, index), is_urgent=is_urgent)
    taken = [queue.take() for _ in urgencies]
    assert sorted(index for _, index in taken) == list(range(len(urgencies)))
    for line in (True, False):
        indices = [index for is_urgent, index in taken if is_urgent is line]
        assert indices == sorted(indices)


@pytest.fixture
def one_thread() -> WorkerPool:
    return WorkerPool(1)


def test_a_patient_job_is_done_while_urgent_ones_keep_coming(one_thread: WorkerPool) -> None:
    patient_is_done = threading.Event()
    rounds = []

    def urgent() -> None:
        rounds.append(1)
        if not patient_is_done.is_set():
            one_thread.submit(urgent)

    one_thread.submit(urgent)
    one_thread.submit(patient_is_done.set, is_urgent=False)
    assert patient_is_done.wait(DEADLINE_S)
    one_thread.close()
    assert rounds


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
