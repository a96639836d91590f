"""Times that damage has changed move nothing; times that a recorder left out move what follows."""

import random

import pytest

from lanscribe.media.times import FrameTimes

FRAME_S = 0.02


def placed(times: list[float | None], faults: set[int] = frozenset()) -> list[float]:  # type: ignore[assignment]
    """Where frames of FRAME_S begin that have these times in their file."""
    believed, at_s, out = FrameTimes[int](), 0.0, []
    results = []
    for index, time_s in enumerate(times):
        results += believed.add(index, FRAME_S, time_s, is_after_fault=index in faults)
    results += believed.flush()
    assert [index for index, _ in results] == list(range(len(times)))
    for _, time_s in results:
        at_s = at_s if time_s is None else time_s
        out.append(at_s)
        at_s += FRAME_S
    return out


def line(count: int, start_s: float = 0.0) -> list[float]:
    return [start_s + index * FRAME_S for index in range(count)]


@pytest.mark.parametrize("gap_s", [0.0, 0.15, 0.9, 1.1, 7.0, 3_600.0, -0.3])
def test_a_hole_is_believed_when_the_sound_after_it_confirms_it(gap_s: float) -> None:
    times = line(200) + line(400, 4.0 + gap_s)
    assert placed(list(times)) == pytest.approx(times)


@pytest.mark.parametrize("seed", range(30))
def test_times_that_damage_has_changed_are_not_believed(seed: int) -> None:
    random_, times = random.Random(seed), line(1_500)
    damaged: list[float | None] = list(times)
    for start in random_.sample(range(10, 1_200, 350), random_.randint(1, 3)):
        wrong_s = random_.choice([-1e4, -3.0, 2.0, 500.0, 1e6])
        for index in range(start, start + random_.randint(1, 250)):
            damaged[index] = times[index] + wrong_s
    assert placed(damaged) == pytest.approx(times)


def test_times_that_begin_again_are_believed_after_a_while() -> None:
    times = line(400) + line(400)
    assert placed(list(times)) == pytest.approx(times)


@pytest.mark.parametrize("count", [1, 40, 95])
def test_frames_without_a_time_are_placed_by_the_next_that_has_one(count: int) -> None:
    times = line(100) + line(100, 5.0)
    hidden: list[float | None] = list(times)
    hidden[100 : 100 + count] = [None] * count
    assert placed(hidden) == pytest.approx(times)


def test_frames_that_never_have_a_time_follow_each_other() -> None:
    assert placed([None] * 300) == pytest.approx(line(300))
    assert placed([*line(10), *([None] * 300)]) == pytest.approx(line(310))


def test_a_fault_separates_frames_without_a_time() -> None:
    times: list[float | None] = [*line(100), *([None] * 10), *line(50, 5.0)]
    times[105:110] = [None] * 5
    out = placed(times, {105})
    assert out[100:105] == pytest.approx(line(5, 2.0))
    assert out[105:] == pytest.approx([*line(5, 4.9), *line(50, 5.0)])


def test_a_leap_of_the_last_two_frames_is_not_believed() -> None:
    times: list[float | None] = [*line(100), *line(2, 77.0)]
    assert placed(times) == pytest.approx(line(102))
    times = [*line(100), *line(3, 77.0)]
    assert placed(times) == pytest.approx(times)
