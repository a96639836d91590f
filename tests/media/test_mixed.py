"""Tracks that are heard together keep their places, whatever each of them misses."""

import random
from collections.abc import Iterator

import numpy as np

from lanscribe.media.mixed import together
from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.speech.audio import Samples


def track(level: float, parts: list[float], seed: int) -> Iterator[Piece]:
    """Samples of one level in blocks; a part below 0 is a hole of so many seconds."""
    random_, at_s = random.Random(seed), 0.0
    yield About()
    for seconds in parts:
        if seconds < 0:
            yield Missing(at_s, at_s - seconds, "gap", "nothing was recorded", -seconds)
        left = round(max(0, seconds) * 16_000)
        while left:
            count = min(left, random_.randint(1, 20_000))
            yield np.full(count, level, dtype=np.float32)
            left -= count
        at_s += abs(seconds)


def laid(level: float, parts: list[float], count: int) -> Samples:
    pieces = [np.full(round(abs(s) * 16_000), level if s > 0 else 0.0) for s in parts]
    whole = np.concatenate(pieces).astype(np.float32)
    return np.pad(whole, (0, count - len(whole)))


def test_all_tracks_are_as_long_as_the_longest() -> None:
    for seed in range(20):
        random_ = random.Random(seed)
        lengths = [
            [
                random_.choice([-1, 1]) * random_.uniform(0.1, 2)
                for _ in range(random_.randint(1, 5))
            ]
            for _ in range(random_.randint(1, 4))
        ]
        tracks = [track(0.1 * n + 0.1, parts, seed) for n, parts in enumerate(lengths)]
        pieces = list(together(tracks))
        sound = np.concatenate([one for one in pieces if not isinstance(one, Missing)], axis=1)
        for n, parts in enumerate(lengths):
            wanted = laid(0.1 * n + 0.1, parts, sound.shape[1])
            assert np.array_equal(sound[n], wanted), f"seed {seed}, track {n}"
        told = [one for one in pieces if isinstance(one, Missing)]
        assert len(told) == sum(part < 0 for parts in lengths for part in parts)
        assert all(one.skipped_s == 0 for one in told)


def test_tracks_without_sound_are_nothing() -> None:
    assert list(together([iter([About()]), iter([])])) == []
