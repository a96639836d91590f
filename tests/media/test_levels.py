"""Floating-point samples come out in [-1, 1], whatever scale a program gave them."""

import numpy as np
import numpy.typing as npt
import pytest

from lanscribe.media.levels import FloatScale

BLOCK = 8_000
Floats = npt.NDArray[np.float32]


def speech(seed: int = 0, level: float = 0.1) -> Floats:
    random_ = np.random.default_rng(seed)
    return np.clip(random_.standard_normal((1, 6 * BLOCK)) * level, -1, 1).astype(np.float32)


def scaled(samples: Floats) -> Floats:
    scale = FloatScale()
    blocks = range(0, samples.shape[1], BLOCK)
    return np.concatenate([scale.applied(samples[:, at : at + BLOCK])[0] for at in blocks], axis=1)


def test_the_usual_scale_stays_as_it_is() -> None:
    assert np.array_equal(scaled(speech()), speech())


@pytest.mark.parametrize("scale", [2.0**15, 2.0**23, 2.0**31])
@pytest.mark.parametrize("is_whole", [True, False])
def test_the_scale_of_integers_becomes_the_usual_one(scale: float, is_whole: bool) -> None:
    samples = speech() * np.float32(scale)
    out = scaled(np.rint(samples) if is_whole else samples)
    assert out == pytest.approx(speech(), abs=1e-4)


def test_noise_of_a_few_steps_before_speech_is_soft() -> None:
    noise = np.random.default_rng(1).integers(-1, 2, (1, 3 * BLOCK)).astype(np.float32)
    samples = np.concatenate([noise, np.rint(speech() * 32_768)], axis=1)
    out = scaled(samples)
    assert np.abs(out[:, : 3 * BLOCK]).max() < 1e-4
    assert out[:, 3 * BLOCK :] == pytest.approx(speech(), abs=1e-4)


@pytest.mark.parametrize("over", [1.5, 4.0, 12.0])
def test_speech_over_full_scale_keeps_its_scale(over: float) -> None:
    samples = speech(level=0.3) * np.float32(over)
    assert np.array_equal(scaled(samples), samples)


@pytest.mark.parametrize("size", [1.0, 50.0, 30_000.0, 1e9, 3e38])
def test_a_click_changes_no_scale(size: float) -> None:
    samples = speech()
    samples[0, 0] = size
    silence = np.zeros((1, BLOCK), dtype=np.float32)
    silence[0, 7] = 1
    out = scaled(np.concatenate([silence, samples], axis=1))
    assert np.array_equal(out[:, BLOCK + 1 :], samples[:, 1:])


def test_what_is_no_number_is_silent_and_told() -> None:
    samples = np.tile(speech(), (2, 1))[:, :BLOCK]
    samples[0, 5], samples[1, 9], samples[0, 11] = np.nan, np.inf, -np.inf
    out, is_wrong = FloatScale().applied(samples)
    assert np.flatnonzero(is_wrong).tolist() == [5, 9, 11]
    assert np.isfinite(out).all()
    assert out[0, 5] == out[1, 9] == out[0, 11] == 0
    assert out[0, 9] == samples[0, 9]


def test_no_samples_are_no_scale() -> None:
    out, is_wrong = FloatScale().applied(np.empty((2, 0), dtype=np.float32))
    assert out.shape == (2, 0)
    assert len(is_wrong) == 0
