"""Any rate that a recording may have, against a tone and its length."""

import numpy as np
import pytest

from lanscribe.speech.resampler import LEAST_RATE_HZ, MOST_RATE_HZ, Resampler

RATES_HZ = [1_000, 3_200, 8_000, 15_999, 16_000, 44_100, 96_000, 352_800, 768_000]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_keeps_its_pitch_its_level_and_its_length(rate_hz: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 100 * np.arange(rate_hz) / rate_hz)).astype(np.float32)
    resampler = Resampler(rate_hz)
    sound = np.concatenate([resampler.feed(tone), resampler.flush()])
    assert len(sound) == pytest.approx(16_000, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * 100 * np.arange(len(sound)) / 16_000)
    middle = slice(4_000, 12_000)
    assert np.abs(sound - expected)[middle].max() < 0.01


@pytest.mark.parametrize("rate_hz", [0, -16_000, LEAST_RATE_HZ - 1, MOST_RATE_HZ + 1])
def test_a_rate_out_of_range_is_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match="expected 1000 to 768000"):
        Resampler(rate_hz)


def test_what_follows_a_flush_is_a_new_stream() -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 22_050).astype(np.float32)
    used, new = Resampler(22_050), Resampler(22_050)
    used.feed(noise[::-1].copy())
    used.flush()
    assert np.array_equal(used.feed(noise), new.feed(noise))
