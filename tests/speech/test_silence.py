"""Why nothing was heard, judged by the samples alone, however they come in."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.silence import MUTED_S, QUIET_DBFS, Listener, MuteWatch, NoSpeech

SEEDS = range(25)


def in_pieces(samples: Samples, random_: random.Random) -> Iterator[Samples]:
    """The same samples as any client might send them."""
    longest = random_.choice([37, 480, 16_000, 100_000])
    while len(samples):
        size = random_.randint(1, longest)
        yield samples[:size]
        samples = samples[size:]


def judged(samples: Samples, random_: random.Random) -> NoSpeech | None:
    listener = Listener()
    for piece in in_pieces(samples, random_):
        listener.add(piece)
    return listener.no_speech()


def noise(level_dbfs: float, seconds: float, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 10 ** (level_dbfs / 20), sample_count(seconds)).astype(np.float32)


def test_noise_of_any_level_is_told_with_its_level() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        level_dbfs, seconds = random_.uniform(-90, -15), random_.uniform(1, 20)
        sound = noise(level_dbfs, seconds, seed) + np.float32(random_.choice([0, 0.1]))
        told = judged(sound, random_)
        assert told is not None, f"seed {seed}"
        assert told.level_dbfs is not None, f"seed {seed}"
        assert told.level_dbfs == pytest.approx(level_dbfs, abs=0.7), f"seed {seed}"
        assert told.cause == ("quiet" if told.level_dbfs < QUIET_DBFS else "no_speech"), seed


def test_zeros_are_zeros_and_one_sample_that_is_not_is_none() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        sound = np.zeros(sample_count(random_.uniform(0.6, 10)), dtype=np.float32)
        assert judged(sound, random_) == NoSpeech("zeros"), f"seed {seed}"
        sound[random_.randrange(len(sound))] = 1e-4
        told = judged(sound, random_)
        assert told, f"seed {seed}"
        assert told.cause == "quiet", f"seed {seed}"


def test_how_it_comes_in_changes_nothing() -> None:
    for seed in SEEDS:
        sound = noise(-40, 7.3, seed)
        sound[: sample_count(2)] = 0
        whole = Listener()
        whole.add(sound)
        told, expected = judged(sound, random.Random(seed)), whole.no_speech()
        assert told, f"seed {seed}"
        assert expected
        assert told.cause == expected.cause, f"seed {seed}"
        assert told.level_dbfs == pytest.approx(expected.level_dbfs, abs=1), f"seed {seed}"


def test_speech_is_not_called_quiet() -> None:
    told = judged(read_wave(sample_path()), random.Random(0))
    assert told
    assert told.cause == "no_speech"


@pytest.mark.parametrize("seconds", [0, 0.1, 0.4])
def test_of_a_touch_there_is_nothing_to_say(seconds: float) -> None:
    assert judged(np.zeros(sample_count(seconds), dtype=np.float32), random.Random(0)) is None


def runs(samples: Samples, least_s: float) -> int:
    """How often at least so many seconds of zeros stand in a row, sample by sample."""
    sounds = np.flatnonzero(np.concatenate([[1], samples, [1]]))
    return int((np.diff(sounds) - 1 >= sample_count(least_s)).sum())


def test_a_muted_microphone_is_noticed_once_each_time() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        parts = [
            np.concatenate([noise(-30, random_.uniform(0.01, 1), seed), np.zeros(zeros)])
            for zeros in (sample_count(random_.uniform(0, 25)) for _ in range(4))
        ]
        sound, watch = np.concatenate(parts).astype(np.float32), MuteWatch()
        longest_s, told = 0.0, 0
        for piece in in_pieces(sound, random_):
            longest_s = max(longest_s, duration_s(len(piece)))
            told += watch.add(piece)
        surely = runs(sound, MUTED_S + longest_s)  # not broken within the message that completes it
        assert surely <= told <= runs(sound, MUTED_S), f"seed {seed}"
