"""Where there is speech, asked by position; every answer against a plain look at all blocks."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.speech.audio import sample_count
from lanscribe.speech.detection import (
    BLOCK_S,
    BLOCK_SAMPLES,
    CLEAR_SPEECH,
    MAYBE_SPEECH,
    LevelDetector,
    Likelihood,
    SpeechMap,
)
from tests.scripted import Scripted

JUDGED = st.tuples(st.sampled_from([0.0, 0.29, 0.3, 0.7]), st.sampled_from([0.0, 0.31]))
JUDGEMENTS = st.lists(st.tuples(JUDGED, st.integers(1, 20)), max_size=8).map(
    lambda runs: [judged for judged, blocks in runs for _ in range(blocks)]
)
"""Up to five seconds of blocks, in runs of equal ones, so that there are pauses."""
TIMES = st.floats(-1, 6)


def mapped(judged: Sequence[tuple[float, float]]) -> SpeechMap:
    """A map of silent blocks that were judged so."""
    speech = SpeechMap(Scripted([Likelihood(raw, boosted) for raw, boosted in judged]))
    speech.add(np.zeros(len(judged) * BLOCK_SAMPLES, dtype=np.float32))
    return speech


def whole_blocks(at_s: float, count: int) -> int:
    """How many of the judged blocks end up to there."""
    return min(max(int(np.floor((at_s + 1e-6) / BLOCK_S)), 0), count)


@settings(deadline=None)
@given(JUDGEMENTS, TIMES)
def test_quiet_is_how_long_nobody_spoke(judged: list[tuple[float, float]], at_s: float) -> None:
    count = whole_blocks(at_s, len(judged))
    speech_ends = [index + 1 for index in range(count) if max(judged[index]) >= MAYBE_SPEECH]
    end = int(np.floor((at_s + 1e-6) / BLOCK_S))
    expected = (end - max(speech_ends, default=0)) * BLOCK_S
    assert mapped(judged).quiet_s(at_s) == pytest.approx(expected)


@settings(deadline=None)
@given(JUDGEMENTS, TIMES, TIMES)
def test_clear_speech_is_counted_between(
    judged: list[tuple[float, float]], start_s: float, end_s: float
) -> None:
    first, last = (whole_blocks(at_s, len(judged)) for at_s in (start_s, end_s))
    clear = [index for index in range(first, last) if judged[index][0] >= CLEAR_SPEECH]
    speech = mapped(judged)
    assert speech.clear_speech_s(start_s, end_s) == pytest.approx(len(clear) * BLOCK_S)
    expected = clear[0] * BLOCK_S if clear else None
    found = speech.first_clear_speech(start_s, end_s)
    assert found == (expected if expected is None else pytest.approx(expected))


@settings(deadline=None)
@given(JUDGEMENTS, TIMES, TIMES, st.floats(0.04, 1))
def test_the_last_pause_is_the_last_stretch_without_speech(
    judged: list[tuple[float, float]], start_s: float, end_s: float, length_s: float
) -> None:
    found = mapped(judged).last_pause(start_s, end_s, length_s)
    is_speech = [max(one) >= MAYBE_SPEECH for one in judged]
    pauses = [
        stop * BLOCK_S
        for stop in range(1, len(judged) + 1)
        if stop * BLOCK_S <= end_s + 1e-6
        and stop * BLOCK_S - length_s >= max(start_s, 0) - 1e-6
        and not any(is_speech[max(0, int(np.floor(stop - length_s / BLOCK_S + 1e-6))) : stop])
    ]
    assert found == (pytest.approx(pauses[-1] - length_s / 2) if pauses else None)


@settings(deadline=None)
@given(JUDGEMENTS, st.lists(st.integers(1, 3000), min_size=1, max_size=30), st.floats(0, 3))
def test_the_answers_are_the_same_whatever_the_chunks_and_what_is_forgotten(
    judged: list[tuple[float, float]], sizes: list[int], forgotten_s: float
) -> None:
    at_once, in_chunks = mapped(judged), mapped([])
    in_chunks = SpeechMap(Scripted([Likelihood(raw, boosted) for raw, boosted in judged]))
    total, start = len(judged) * BLOCK_SAMPLES, 0
    for size in [*sizes, total]:
        in_chunks.add(np.zeros(min(size, total - start), dtype=np.float32))
        start = min(start + size, total)
    in_chunks.forget(forgotten_s)
    assert in_chunks.end_s == at_once.end_s
    for at_s in np.arange(min(forgotten_s, at_once.end_s), at_once.end_s + 1, 0.05):
        assert in_chunks.quiet_s(at_s) == at_once.quiet_s(at_s)
        assert in_chunks.silent_s(at_s) == at_once.silent_s(at_s)
        assert in_chunks.clear_speech_s(forgotten_s, at_s) == pytest.approx(
            at_once.clear_speech_s(forgotten_s, at_s)
        )


@pytest.mark.parametrize(
    ("end", "middle"), [(41, 37), (33, 29), (32, 20), (31, 20), (24, 20), (23, None)]
)
def test_a_pause_is_the_last_one_that_is_whole(end: int, middle: int | None) -> None:
    """Speech of 16 blocks, 8 of silence, one that may be speech, and 16 of silence."""
    speech = mapped([*[(0.9, 0.0)] * 16, *[(0.0, 0.0)] * 8, (0.0, 0.3), *[(0.0, 0.29)] * 16])
    found = speech.last_pause(0.0, end * BLOCK_S, 8 * BLOCK_S)
    assert found == (None if middle is None else pytest.approx(middle * BLOCK_S))
    assert speech.last_pause(17 * BLOCK_S, 24 * BLOCK_S, 8 * BLOCK_S) is None
    whole = speech.last_pause(16 * BLOCK_S, 24 * BLOCK_S, 8 * BLOCK_S)
    assert whole == pytest.approx(20 * BLOCK_S)


def test_silence_lasts_since_the_last_sound_by_its_level() -> None:
    """The detector hears nobody speak in all of it."""
    knock = np.full(sample_count(0.2), 0.01, dtype=np.float32)
    sound = np.concatenate([np.zeros(sample_count(2)), knock, np.zeros(sample_count(3))])
    speech = SpeechMap(Scripted([Likelihood(0.0, 0.0)] * (len(sound) // BLOCK_SAMPLES)))
    speech.add(sound.astype(np.float32))
    for at_s in np.arange(0.05, 5.0, 0.05):
        if at_s < 2.0:
            assert speech.silent_s(at_s) == at_s
        elif at_s > 2.25:
            assert speech.silent_s(at_s) == pytest.approx(at_s - 2.2)
        elif at_s > 2.15:  # two frames of it are a sound, one alone is a click
            assert speech.silent_s(at_s) < 0.1


@settings(deadline=None)
@given(JUDGEMENTS, TIMES, TIMES)
def test_speech_wakes_from_the_first_block_that_may_be_some(
    judged: list[tuple[float, float]], start_s: float, end_s: float
) -> None:
    first, last = (whole_blocks(at_s, len(judged)) for at_s in (start_s, end_s))
    spoken = [index for index in range(first, last) if max(judged[index]) >= MAYBE_SPEECH]
    found = mapped(judged).waking(start_s, end_s)
    assert found == (pytest.approx(spoken[0] * BLOCK_S) if spoken else None)


@settings(deadline=None)
@given(JUDGEMENTS, TIMES, st.floats(0.04, 1), st.floats(0, 3))
def test_a_pause_is_found_as_long_as_all_of_it_is_remembered(
    judged: list[tuple[float, float]], end_s: float, length_s: float, forgotten_s: float
) -> None:
    """One that reaches back to what is forgotten may have had speech there."""
    whole, partly = mapped(judged), mapped(judged)
    partly.forget(forgotten_s)
    oldest_s = whole_blocks(forgotten_s, len(judged)) * BLOCK_S
    expected = whole.last_pause(oldest_s, end_s, length_s)
    assert partly.last_pause(-1.0, end_s, length_s) == expected


def test_what_is_no_whole_block_at_the_end_is_judged_as_if_silence_followed() -> None:
    speech = SpeechMap(LevelDetector().stream())
    speech.add(np.concatenate([np.zeros(BLOCK_SAMPLES), np.full(100, 0.3)]).astype(np.float32))
    assert speech.end_s == BLOCK_S
    assert speech.waking(0.0, 1.0) is None
    speech.finish()
    assert speech.end_s == 2 * BLOCK_S
    assert speech.waking(0.0, 1.0) == BLOCK_S
    speech.finish()
    assert speech.end_s == 2 * BLOCK_S


@pytest.mark.parametrize(
    ("silent_s", "wakes"), [(9.0, False), (9.9, False), (9.95, True), (10.5, True)]
)
def test_a_sound_that_is_no_speech_wakes_only_after_ten_seconds_without_any(
    silent_s: float, wakes: bool
) -> None:
    """The second witness: it finds words that the detector misses, and every click of a key."""
    knock = np.full(sample_count(0.2), 0.01, dtype=np.float32)
    before, between = (np.zeros(sample_count(one_s), np.float32) for one_s in (1.0, silent_s))
    sound = np.concatenate([before, knock, between, knock])
    speech = SpeechMap(Scripted([Likelihood(0.0, 0.0)] * (len(sound) // BLOCK_SAMPLES)))
    speech.add(sound)
    waking_s = speech.waking(2.0, 100.0)
    assert (waking_s is not None) is wakes
    assert waking_s is None or waking_s == pytest.approx(1.2 + silent_s + 0.1, abs=0.05)
