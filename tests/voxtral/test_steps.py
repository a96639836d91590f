"""The step of Voxtral, in whatever unit it is needed."""

import pytest

from lanscribe.config import VllmSettings
from lanscribe.voxtral.delay import DELAYS_MS
from lanscribe.voxtral.plan import TOKENS_PER_MINUTE
from lanscribe.voxtral.steps import STEP_MS, STEP_S, steps_of


@pytest.mark.parametrize(
    ("audio_s", "steps"), [(0.0, 0), (0.01, 1), (0.08, 1), (0.09, 2), (1.0, 13)]
)
def test_a_step_that_is_begun_counts(audio_s: float, steps: int) -> None:
    assert steps_of(audio_s) == steps


def test_a_minute_is_750_steps() -> None:
    assert TOKENS_PER_MINUTE == 750
    assert pytest.approx(60) == TOKENS_PER_MINUTE * STEP_S


def test_the_setting_of_the_delay_takes_every_delay_and_only_whole_steps() -> None:
    """config.py is below Voxtral's room and cannot take the step from there."""
    schema = VllmSettings.model_json_schema()["properties"]["delay_ms"]
    bounds = schema["minimum"], schema["maximum"], schema["multipleOf"]
    assert bounds == (DELAYS_MS[0], DELAYS_MS[-1], STEP_MS)
