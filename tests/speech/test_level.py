"""Which sounds stand out of the noise of the room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.speech.level import FRAME_SAMPLES, Floor, Sounds


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.integers(1, 30))
def test_the_floor_is_the_quietest_of_the_last_levels(values: list[float], count: int) -> None:
    floor = Floor(count)
    for index, value in enumerate(values):
        assert floor.after(value) == min(values[max(0, index + 1 - count) : index + 1])


def test_the_floor_rises_once_a_quiet_level_is_too_long_ago() -> None:
    floor = Floor(3)
    assert [floor.after(level) for level in (1, 2, 5, 3, 4, 9, 9)] == [1, 1, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("level", [0.0, 0.0005, 0.01, 0.1])
def test_steady_noise_is_no_sound_at_any_level_and_a_click_is_none(level: float) -> None:
    sounds = Sounds()
    noise = np.random.default_rng(1).normal(0, level, 400 * FRAME_SAMPLES).astype(np.float32)
    noise[200 * FRAME_SAMPLES] = 0.9
    sounds.add(noise)
    assert sounds.end_s == 0.0


@pytest.mark.parametrize("floor", [0.0, 0.0005, 0.01])
def test_what_stands_out_of_the_noise_is_a_sound_up_to_its_end(floor: float) -> None:
    sounds = Sounds()
    noise = np.random.default_rng(1).normal(0, floor, 400 * FRAME_SAMPLES).astype(np.float32)
    noise[100 * FRAME_SAMPLES : 110 * FRAME_SAMPLES] += max(3 * floor, 0.001)
    sounds.add(noise)
    assert sounds.end_s == pytest.approx(110 * 0.05)
