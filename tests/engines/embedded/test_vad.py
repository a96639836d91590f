"""The real detector, on a real voice: near and far, after a slam, in noise that is no speech."""

import numpy as np
import pytest

from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import BLOCK_SAMPLES, MAYBE_SPEECH, Likelihood, SpeechMap
from lanscribe.speech.level import levels


def judged(detector: VoiceDetector, samples: Samples) -> list[Likelihood]:
    return detector.stream().add(samples)


def in_16_bits(samples: Samples) -> Samples:
    return (np.round(samples * 32_768) / 32_768).astype(np.float32)


def voiced(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which blocks are voice, by level in a recording without noise: 14 dB below the loudest."""
    blocks = samples[: len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    found = np.array(levels(blocks))
    return np.asarray(found > 0.2 * np.percentile(found, 95))


@pytest.mark.parametrize("level_db", [0, -10, -20, -25], ids=str)
def test_quiet_speech_is_found(detector: VoiceDetector, beckett: Samples, level_db: int) -> None:
    """Beckett is at -33 dBFS, so the last is at -58."""
    quiet = in_16_bits(beckett * np.float32(10 ** (level_db / 20)))
    best = np.array([one.best for one in judged(detector, quiet)])
    assert np.mean(best[voiced(beckett)] < MAYBE_SPEECH) < 0.1


def test_the_second_look_is_what_finds_it(detector: VoiceDetector, beckett: Samples) -> None:
    far = beckett * np.float32(10 ** (-25 / 20))
    noise = np.random.default_rng(1).normal(0, 10 ** (-72 / 20), len(beckett))
    both = judged(detector, in_16_bits((far + noise).astype(np.float32)))
    voice = voiced(beckett)
    missed_raw = np.mean(np.array([one.raw for one in both])[voice] < MAYBE_SPEECH)
    missed = np.mean(np.array([one.best for one in both])[voice] < MAYBE_SPEECH)
    assert missed < 0.07
    assert missed_raw > 2 * missed


def test_a_slam_hides_no_quiet_speech_after_it(detector: VoiceDetector, beckett: Samples) -> None:
    slam = np.random.default_rng(2).normal(0, 0.5, sample_count(0.3)).astype(np.float32)
    silence = np.zeros(sample_count(0.5), dtype=np.float32)
    quiet = beckett * np.float32(10 ** (-15 / 20))
    sound = in_16_bits(np.concatenate([slam, silence, quiet]))
    skipped = (len(slam) + len(silence)) // BLOCK_SAMPLES
    best = np.array([one.best for one in judged(detector, sound)])[skipped:]
    voice = voiced(quiet)
    assert np.mean(best[: len(voice)][voice[: len(best)]] < MAYBE_SPEECH) < 0.1


def test_what_nobody_says_is_no_speech(
    detector: VoiceDetector, not_speech: dict[str, Samples]
) -> None:
    for name, sound in not_speech.items():
        best = [one.best for one in judged(detector, sound)]
        assert np.mean(np.array(best) >= MAYBE_SPEECH) < 0.05, name


@pytest.mark.parametrize("noise_db", [-60, -45, -39])
def test_pauses_are_found_in_a_noisy_room(
    detector: VoiceDetector, beckett: Samples, noise_db: int
) -> None:
    """Where the level finds none: the noise comes and goes, up to 6 dB below the voice."""
    random = np.random.default_rng(noise_db + 100)
    gusts = np.repeat(10 ** (random.uniform(-10, 0, len(beckett) // 1600 + 1) / 20), 1600)
    noise = random.normal(0, 10 ** (noise_db / 20), len(beckett)) * gusts[: len(beckett)]
    speech = SpeechMap(detector.stream())
    speech.add((beckett + noise).astype(np.float32))
    ends = speech.ends_within(0.0, 10.0)
    assert sum(speech.quiet_s(at_s) >= 0.5 for at_s in ends) * 0.032 > 1.0


def test_any_chunks_are_judged_alike(detector: VoiceDetector, beckett: Samples) -> None:
    stream, found, start = detector.stream(), [], 0
    sizes = np.random.default_rng(5).integers(1, 3000, 1000)
    for size in sizes:
        found += stream.add(beckett[start : start + size])
        start += size
    at_once = judged(detector, beckett)
    assert len(found) == len(at_once)
    for one, two in zip(found, at_once, strict=True):
        assert one.raw == pytest.approx(two.raw, abs=1e-4)
        assert one.boosted == pytest.approx(two.boosted, abs=1e-4)
