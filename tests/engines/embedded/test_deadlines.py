"""Who is served when: seeded schedules of speakers and files on simulated threads."""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lanscribe.engines.embedded.deadlines import (
    AHEAD_S,
    MOST_AHEAD_S,
    PATIENCE_S,
    RATION_S,
    SPEAKING_S,
    DeadlineQueue,
    Due,
    DueTime,
)

SEEDS = range(15)
SCHEDULE_S = 40.0
TICKS_PER_S = 50
LOADS = [(0.3, 0.6), (0.6, 0.3), (1.2, 0.4)]
"""Parts of the prompt threads' time that speakers take, and that files would at their speed."""


@dataclass(eq=False)
class Stream:
    """A session: a speaker, whose audio comes as it is spoken, or a file, which is all there."""

    name: str
    is_file: bool
    cost: float
    """Thread seconds for a second of audio."""
    begins_s: float
    chunk_s: float = 0.1
    due: DueTime = field(default_factory=DueTime)
    taken_s: float = 0.0
    runs: bool = False

    def come_s(self, now_s: float) -> float:
        """How much audio has come so far."""
        if now_s < self.begins_s:
            return 0.0
        return 1e6 if self.is_file else (now_s - self.begins_s) // self.chunk_s * self.chunk_s


@dataclass(frozen=True)
class Job:
    """A job in the queue."""

    stream: Stream
    seconds: float
    due: Due
    put_s: float


@dataclass(frozen=True)
class Taken:
    """A job taken by a thread, and those that were left waiting."""

    job: Job
    at_s: float
    is_patient: bool
    others: tuple[Job, ...]


class House:
    """Threads, a queue and streams, with a clock of their own."""

    def __init__(self, streams: list[Stream], prompt: int, patient: int) -> None:
        self.streams = streams
        self.free = {False: prompt, True: patient}
        self.queue: DeadlineQueue[Job] = DeadlineQueue()
        self.waiting: list[Job] = []
        self.taken: list[Taken] = []
        self._order = itertools.count()

    def run(self, until_s: float) -> None:
        """Every 20 ms audio comes, jobs end, and free threads look for one."""
        ends: list[tuple[float, int, Stream, bool]] = []
        for tick in range(round(until_s * TICKS_PER_S)):
            now_s = tick / TICKS_PER_S
            while ends and ends[0][0] <= now_s:
                _, _, stream, is_patient = heapq.heappop(ends)
                stream.runs = False
                self.free[is_patient] += 1
            for stream in self.streams:
                self._put(stream, now_s)
            for taken in self._served(now_s):
                stream = taken.job.stream
                end_s = now_s + stream.cost * taken.job.seconds
                heapq.heappush(ends, (end_s, next(self._order), stream, taken.is_patient))

    def _put(self, stream: Stream, now_s: float) -> None:
        """At most one job of each session, of at most a second."""
        seconds = min(stream.come_s(now_s) - stream.taken_s, 1.0)
        if stream.runs or seconds < 1e-6:
            return
        had_come_s = 0.0 if stream.is_file else stream.come_s(now_s - 1 / TICKS_PER_S)
        if had_come_s - stream.taken_s < 1e-6 and (not stream.is_file or not stream.taken_s):
            stream.due.arrive(now_s)
        stream.runs = True
        stream.taken_s += seconds
        left_s = min(stream.come_s(now_s) - stream.taken_s, 30.0)
        job = Job(stream, seconds, stream.due.take(seconds, left_s, now_s), now_s)
        self.queue.put(job, job.due, now_s)
        self.waiting.append(job)

    def _served(self, now_s: float) -> Iterator[Taken]:
        for is_patient in (False, True):
            while self.free[is_patient]:
                job = self.queue.take(now_s, is_patient=is_patient)
                if job is None:
                    break
                self.free[is_patient] -= 1
                self.waiting.remove(job)
                self.taken.append(Taken(job, now_s, is_patient, tuple(self.waiting)))
                yield self.taken[-1]


def house(seed: int, speech_load: float, file_load: float) -> House:
    """Speakers and greedy files, each a part of the load."""
    chance = random.Random(seed)
    prompt = chance.randint(1, 3)
    speakers, files = chance.randint(1, 6), chance.randint(1, 8)
    streams = [
        Stream(
            f"speaker {index}",
            is_file=False,
            cost=min(speech_load * prompt / speakers, 0.7),
            begins_s=chance.uniform(0, 5),
            chunk_s=chance.choice([0.02, 0.1, 0.5]),
        )
        for index in range(speakers)
    ]
    streams += [
        Stream(
            f"file {index}",
            is_file=True,
            cost=min(file_load * prompt / files, 0.5),
            begins_s=chance.uniform(0, 20),
        )
        for index in range(files)
    ]
    return House(streams, prompt, chance.randint(1, 3))


@pytest.mark.parametrize(("speech_load", "file_load"), LOADS)
def test_no_speaker_waits_for_a_file_that_is_ahead_of_its_time(
    speech_load: float, file_load: float
) -> None:
    """And none for one who is due later: so who is late is the most urgent."""
    for seed in SEEDS:
        found = house(seed, speech_load, file_load)
        found.run(SCHEDULE_S / 4)
        for one in (taken for taken in found.taken if not taken.is_patient):
            rivals = [job.due.deadline_s for job in one.others if not job.due.is_ahead]
            assert all(rival >= one.job.due.deadline_s for rival in rivals), f"seed {seed}: {one}"
            is_early = one.job.due.deadline_s > one.at_s
            assert not (rivals and one.job.due.is_ahead and is_early), f"seed {seed}: {one}"


@pytest.mark.parametrize(("speech_load", "file_load"), LOADS)
def test_a_speaker_is_never_left_to_a_patient_thread(speech_load: float, file_load: float) -> None:
    for seed in SEEDS:
        found = house(seed, speech_load, file_load)
        found.run(SCHEDULE_S / 4)
        left = {one.job.stream.name for one in found.taken if one.is_patient}
        assert all(name.startswith("file") for name in left), f"seed {seed}: {left}"


@pytest.mark.parametrize(("speech_load", "file_load"), LOADS)
def test_every_job_is_served_within_a_bound(speech_load: float, file_load: float) -> None:
    """A file waits for its time, and then for its turn among files.

    Speakers are late where they alone are more than can be done; that is shared by them.
    """
    overload = max(0.0, 1 - 1 / speech_load)
    for seed in SEEDS:
        found = house(seed, speech_load, file_load)
        found.run(SCHEDULE_S)
        waits = [(one.at_s - one.job.put_s, one.job) for one in found.taken]
        waits += [(SCHEDULE_S - job.put_s, job) for job in found.waiting]
        files_s = MOST_AHEAD_S + PATIENCE_S + RATION_S * len(found.streams) + 1
        for wait_s, job in waits:
            bound_s = files_s if job.stream.is_file else SCHEDULE_S * overload + 3
            assert wait_s <= bound_s, f"seed {seed}: {job} waited {wait_s} s"
        assert {one.job.stream for one in found.taken} == set(found.streams), f"seed {seed}"


def test_speakers_beside_files_wait_no_longer_than_alone() -> None:
    """Patient threads run the files, so that no prompt one is busy with them."""
    for seed in SEEDS[:6]:
        waits = []
        for has_files in (False, True):
            found = house(seed, 0.5, 0.4)
            found.streams = [one for one in found.streams if has_files or not one.is_file]
            found.free[True] = 3
            found.run(SCHEDULE_S)
            speech = [one for one in found.taken if not one.job.stream.is_file]
            waits.append([one.at_s - one.job.put_s for one in speech if one.at_s > 25])
        alone, beside = (sum(one) / len(one) for one in waits)
        assert beside <= alone + 0.1, f"seed {seed}: {beside} s beside files, {alone} s alone"


def test_equal_deadlines_are_first_come_first_served() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    for name in "abc":
        queue.put(name, Due(5.0), 5.0)
    assert [queue.take(5.0) for _ in range(4)] == ["a", "b", "c", None]


def test_files_have_the_prompt_threads_while_nobody_speaks() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.put("file", Due(100.0, is_ahead=True), 90.0)
    assert queue.wait_s(90.0) == 0.0
    assert queue.take(90.0, is_patient=True) is None
    assert queue.take(90.0) == "file"
    assert queue.wait_s(90.0) is None


def test_a_prompt_thread_takes_a_file_that_is_late() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.put("speech", Due(90.0), 90.0)
    queue.put("file", Due(90.0, is_ahead=True), 90.0)
    assert queue.take(90.0) == "speech"
    assert queue.take(90.0) is None
    assert queue.wait_s(90.0) == PATIENCE_S
    assert queue.take(90.0 + PATIENCE_S) == "file"


def test_a_prompt_thread_takes_a_file_once_nobody_has_spoken_for_a_while() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.put("speech", Due(90.0), 90.0)
    queue.put("file", Due(99.0, is_ahead=True), 90.0)
    assert queue.take(90.0) == "speech"
    assert queue.wait_s(90.0) == SPEAKING_S
    assert queue.take(90.0 + SPEAKING_S) == "file"


def test_while_a_speaker_is_late_files_get_one_job_a_second() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    for name in "abc":
        queue.put(name, Due(99.0, is_ahead=True), 90.0)
    queue.put("late", Due(80.0), 90.0)
    assert queue.take(90.0, is_patient=True) == "a"
    assert queue.take(90.0) == "late"
    assert queue.take(90.5, is_patient=True) is None
    assert queue.wait_s(90.5, is_patient=True) == 0.5
    assert queue.take(91.0, is_patient=True) == "b"
    assert queue.take(91.5, is_patient=True) is None


def test_files_that_are_late_take_turns() -> None:
    old, new = DueTime(), DueTime()
    old.arrive(0.0)
    for now_s in (20.0, 40.0, 60.0):
        assert old.take(1.0, 30.0, now_s) == Due(now_s - PATIENCE_S, is_ahead=True)
    new.arrive(60.0)
    assert new.take(1.0, 30.0, 61.0) == old.take(1.0, 30.0, 61.0)


def test_nothing_is_lost() -> None:
    for seed in SEEDS:
        chance = random.Random(seed)
        queue: DeadlineQueue[int] = DeadlineQueue()
        found = []
        for number in range(100):
            queue.put(number, Due(chance.uniform(0, 20), is_ahead=chance.random() < 0.5), 10.0)
            if chance.random() < 0.5:
                found.append(queue.take(10.0, is_patient=chance.random() < 0.5))
        found += queue.drain()
        assert sorted(one for one in found if one is not None) == list(range(100)), f"seed {seed}"
        assert len(queue) == 0


def test_whoever_comes_faster_than_speech_is_never_far_ahead() -> None:
    for seed in SEEDS:
        chance = random.Random(seed)
        due, now_s = DueTime(), chance.uniform(0, 1e6)
        due.arrive(now_s)
        for _ in range(300):
            found = due.take(chance.uniform(0, 1), 30.0, now_s)
            assert found.deadline_s - now_s >= -PATIENCE_S, f"seed {seed}"
            assert found.deadline_s - now_s <= MOST_AHEAD_S + 1e-6, f"seed {seed}"
            assert found.is_ahead, f"seed {seed}"
            now_s += chance.uniform(0, 0.05)


def test_waiting_earns_nothing() -> None:
    """After any pause a dump of audio is due from now on, at the speed of speech."""
    for seed in SEEDS:
        chance = random.Random(seed)
        due, now_s = DueTime(), 0.0
        for _ in range(chance.randint(0, 5)):
            due.arrive(now_s)
            due.take(chance.uniform(0, 1), 0.0, now_s)
            now_s += chance.uniform(0, 600)
        due.arrive(now_s)
        found = [due.take(1.0, 60.0 - second, now_s) for second in range(5)]
        assert found[0].deadline_s >= now_s, f"seed {seed}"
        assert all(one.is_ahead for one in found), f"seed {seed}"
        steps = [b.deadline_s - a.deadline_s for a, b in itertools.pairwise(found)]
        assert min(steps) > 0.5, f"seed {seed}"


def test_a_late_speaker_is_due_before_one_who_is_not_and_is_no_file() -> None:
    late, prompt = DueTime(), DueTime()
    late.arrive(10.0)
    prompt.arrive(40.0)
    found = [late.take(1.0, 29.0 - second, 40.0) for second in range(3)]
    assert found == [Due(10.0), Due(11.0), Due(12.0)]
    assert prompt.take(0.1, 0.0, 40.0) == Due(40.0)


def test_a_speaker_who_caught_up_with_a_gap_is_soon_a_speaker_again() -> None:
    due, now_s = DueTime(), 100.0
    due.arrive(now_s)
    for second in range(30):
        assert due.take(1.0, 29.0 - second, now_s).is_ahead
    found = due.take(0.1, 0.0, now_s)
    for _ in range(300):
        now_s += 0.1
        due.arrive(now_s)
        found = due.take(0.1, 0.0, now_s)
    assert not found.is_ahead
    assert found.deadline_s - now_s < AHEAD_S / 3
