"""Words that were spoken twice stay, words that were only written twice go."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.repeats import Floats, stuck_tokens, without_loops
from lanscribe.engines.embedded.streaming import Unit
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.transcript import Token, words_of
from tests.engines.conftest import BECKETT

FRAMES_PER_WORD = 12
"""0.29 s."""
VOCABULARY = ["no", "again", "had", "better", "matter", "two"]
SHORT = ["no", "had", "two", "of", "it", "but", "any", "we"]
"""Words that may take as little as 0.1 s."""
SEEDS = range(200)


def units_of(words: Sequence[str], log_probability: float = -0.05) -> list[Unit]:
    """A unit of one token for each word."""
    tokens = [sum(word.encode()) for word in words]
    pairs = zip(words, tokens, strict=True)
    return [Unit((token,), f" {word}", log_probability) for word, token in pairs]


def looks(places: Sequence[int], frames: int) -> Floats:
    """Attention (n + 1, frames) that lies around each place, and at last around the end."""
    at = np.arange(frames)
    rows = [np.exp(-(((at - place) / (FRAMES_PER_WORD / 4)) ** 2)) for place in [*places, frames]]
    attention: Floats = np.array(rows, dtype=np.float32) + np.float32(1e-6)
    attention /= attention.sum(axis=1, keepdims=True)
    return attention


def texts(units: Sequence[Unit]) -> list[str]:
    return [unit.text.strip() for unit in units]


def test_words_that_are_spoken_stay_however_often_and_loops_go() -> None:
    """Every spoken word has sound of its own; a loop looks at the sound of what it repeats."""
    for seed in SEEDS:
        chance = random.Random(seed)
        spoken = [chance.choice(VOCABULARY) for _ in range(chance.randint(2, 8))]
        spoken += [spoken[-1]] * chance.randint(0, 3)
        places = [FRAMES_PER_WORD * index + 6 for index in range(len(spoken))]
        period = chance.randint(1, min(4, len(spoken)))
        copies = chance.randint(0, 5)
        cut = chance.randint(0, period - 1) if copies else 0
        looped, seen = spoken[-period:], places[-period:]
        words = spoken + looped * copies + looped[:cut]
        attention = looks(places + seen * copies + seen[:cut], FRAMES_PER_WORD * len(spoken))
        settled = chance.randint(0, len(spoken))
        units = units_of(words)
        left, rows = without_loops(units[:settled], units[settled:], attention)
        assert texts(left) == spoken[settled:], f"seed {seed}: {words} after {settled}"
        assert len(rows) == len(spoken) + 1, f"seed {seed}"


def test_a_number_that_is_only_begun_again_goes_with_the_words_before_it() -> None:
    """ "In 1830, in 18": the decoder ran out of sound in the middle of its loop."""
    for seed in SEEDS:
        chance = random.Random(seed)
        number = str(chance.randint(100, 99_999))
        spoken = [*chance.sample(SHORT, chance.randint(1, 4)), number]
        again = [*spoken[:-1], number[: chance.randint(1, len(number) - 1)]]
        places = [FRAMES_PER_WORD * index + 6 for index in range(2 * len(spoken))]
        message = f"seed {seed}: {spoken + again}"
        units = units_of(spoken + again)
        looped = looks(places[: len(spoken)] * 2, FRAMES_PER_WORD * len(spoken))
        assert texts(without_loops([], units, looped)[0]) == spoken, message
        new = looks(places, 2 * FRAMES_PER_WORD * len(spoken))
        assert texts(without_loops([], units, new)[0]) == spoken + again, message


def test_a_half_word_at_the_edge_is_none_of_the_word_before_until_it_has_its_time() -> None:
    """It looks at new sound, too little for it; where speech has stopped, it is whole."""
    for seed in SEEDS:
        chance = random.Random(seed)
        spoken = chance.sample(SHORT, chance.randint(1, 8))
        places = [FRAMES_PER_WORD * index + 6 for index in range(len(spoken) + 1)]
        words = [*spoken, spoken[-1]]
        units = units_of(words, -0.01)
        sound = FRAMES_PER_WORD * len(spoken)
        half = looks([*places[:-1], sound + 1], sound + 2)
        whole = looks(places, sound + FRAMES_PER_WORD)
        settled = chance.randint(0, len(spoken))
        asked = units[:settled], units[settled:]
        message = f"seed {seed}: {words} after {settled}"
        assert texts(without_loops(*asked, half, is_cut=True)[0]) == spoken[settled:], message
        assert texts(without_loops(*asked, half)[0]) == words[settled:], message
        assert texts(without_loops(*asked, whole, is_cut=True)[0]) == words[settled:], message
        assert not without_loops(units, [], half, is_cut=True)[0], message


def test_a_settled_word_is_not_taken_back() -> None:
    units = units_of(["no", "no", "no"])
    left, rows = without_loops(units[:2], units[2:], looks([6, 6, 6], FRAMES_PER_WORD))
    assert left == []
    assert len(rows) == 3


def test_a_word_without_its_time_is_no_word_again() -> None:
    """It may look elsewhere, at the 50 ms that are left."""
    units = units_of(["better", "better"], -0.5)
    attention = looks([6, 12], 14)
    assert texts(without_loops([], units, attention)[0]) == ["better"]


def test_marks_go_with_the_words_that_they_follow() -> None:
    tokens = [" no", ",", " no", ",", " no", "."]
    units = [Unit((index,), text, -0.1) for index, text in enumerate(tokens)]
    left, rows = without_loops([], units, looks([6, 9, 6, 9, 6, 9], FRAMES_PER_WORD))
    assert texts(left) == ["no", "."]
    assert len(rows) == 3


def test_tokens_are_stuck_only_where_the_sound_is_the_same() -> None:
    tokens = [3, *[7, 8] * 5]
    frames = 11 * FRAMES_PER_WORD
    moving = looks([FRAMES_PER_WORD * index for index in range(11)], frames)[:-1]
    standing = looks([0, *[50, 60] * 5], frames)[:-1]
    assert stuck_tokens(tokens, moving) == 0
    assert stuck_tokens(tokens, standing) == 6


def test_the_zeros_of_a_number_are_no_loop() -> None:
    tokens = [1, *[0] * 6]
    assert stuck_tokens(tokens, looks([5] * 7, 60)[:-1]) == 0


def hear(moonshine: Moonshine, detector: VoiceDetector, samples: Samples) -> list[Token]:
    """Live, 0.4 s at a time."""
    recognizer = Recognizer(moonshine, detector)
    step = sample_count(0.4)
    pieces = [recognizer.hear(samples[at : at + step]) for at in range(0, len(samples), step)]
    return [token for piece in [*pieces, recognizer.finish()] for token in piece]


def plain(tokens: Sequence[Token]) -> list[str]:
    return ["".join(filter(str.isalnum, word.text.lower())) for word in words_of(tokens)]


def doubled(words: Sequence[str]) -> set[str]:
    """Rows of up to six words that follow themselves."""
    return {
        " ".join(words[at : at + period])
        for period in range(1, 7)
        for at in range(len(words) - 2 * period + 1)
        if words[at : at + period] == words[at + period : at + 2 * period]
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_no_word_is_doubled_wherever_speech_is_cut_off(
    moonshine: Moonshine, detector: VoiceDetector, beckett: Samples, seed: int
) -> None:
    """The text is what settled live and what came at the end: neither has a loop."""
    chance = random.Random(seed)
    said = doubled(BECKETT)
    ends_s = [5.0, 5.16, *(chance.uniform(0.4, duration_s(len(beckett))) for _ in range(18))]
    for end_s in ends_s:
        words = plain(hear(moonshine, detector, beckett[: sample_count(end_s)]))
        assert not doubled(words) - said, f"seed {seed}, cut at {end_s} s: {words}"


@pytest.mark.parametrize("rest_s", [0.06, 10.0])
@pytest.mark.parametrize(("word", "times"), [("no", 3), ("ever", 2), ("better", 2), ("again", 2)])
def test_a_word_that_is_said_again_is_written_again(
    moonshine: Moonshine,
    detector: VoiceDetector,
    beckett: Samples,
    word: str,
    times: int,
    rest_s: float,
) -> None:
    """Also where the sound ends with it."""
    found = words_of(hear(moonshine, detector, beckett))
    said = next(one for one in found if one.text.strip(" .,").lower() == word)
    start, end = sample_count(said.start_s), sample_count(said.end_s)
    pause = np.zeros(sample_count(0.15), dtype=np.float32)
    again = [part for _ in range(times - 1) for part in (pause, beckett[start:end])]
    rest = beckett[end : end + sample_count(rest_s)]
    sound = np.concatenate([beckett[:end], *again, rest])
    words = plain(hear(moonshine, detector, sound))
    assert " ".join([word] * times) in " ".join(words), words
