"""Turns in made sound: a hum for speech, a faint noise for the room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import BLOCK_S, BLOCK_SAMPLES, LevelDetector, SpeechStream
from lanscribe.speech.turns import (
    PauseSettings,
    TurnBegan,
    TurnEnded,
    TurnPiece,
    Turns,
    TurnSettings,
)
from tests.scripted import Scripted, likely


def by_level() -> SpeechStream:
    return LevelDetector().stream()


def hum(seconds: float, level: float = 0.1) -> Samples:
    time_s = np.arange(sample_count(seconds)) / 16_000
    wave = level * np.sqrt(2) * np.sin(2 * np.pi * 200 * time_s)
    return np.asarray(wave, dtype=np.float32)


def room(seconds: float, level: float = 0.0005) -> Samples:
    random = np.random.default_rng(7)
    return (level * random.standard_normal(sample_count(seconds))).astype(np.float32)


TALK = np.concatenate([room(1), hum(1), room(0.3), hum(0.5), room(1), hum(0.6), room(2)])


def marks(pieces: list[TurnPiece]) -> list[float]:
    """Where turns begin and end, by turns, in seconds."""
    return [piece.at / 16_000 for piece in pieces if isinstance(piece, TurnBegan | TurnEnded)]


def sound(pieces: list[TurnPiece]) -> Samples:
    return np.concatenate([piece for piece in pieces if isinstance(piece, np.ndarray)])


def test_a_turn_has_its_padding_and_its_silence() -> None:
    pieces = Turns(TurnSettings(), by_level(), 0).add(TALK)
    assert marks(pieces) == pytest.approx([0.7, 3.3, 3.5, 4.9], abs=BLOCK_S)
    ends = iter([piece.at for piece in pieces if isinstance(piece, TurnBegan | TurnEnded)])
    turns = [TALK[began:ended].tolist() for began, ended in zip(ends, ends, strict=True)]
    assert sound(pieces).tolist() == [*turns[0], *turns[1]]


def test_silence_and_padding_are_as_long_as_asked_for() -> None:
    short = Turns(TurnSettings(prefix_padding_s=0, silence_s=0.2), by_level(), 0).add(TALK)
    assert marks(short) == pytest.approx([1.0, 2.2, 2.3, 3.0, 3.8, 4.6], abs=0.05)
    long = Turns(TurnSettings(silence_s=1.5), by_level(), 0).add(TALK)
    assert marks(long) == pytest.approx([0.7, 5.9], abs=0.05)


@settings(deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=60))
def test_chunks_of_any_size_make_the_same_turns(sizes: list[int]) -> None:
    turns, pieces, start = Turns(TurnSettings(), by_level(), 0), [], 0
    for size in sizes:
        pieces += turns.add(TALK[start : start + size])
        start += size
    pieces += turns.add(TALK[start:])
    at_once = Turns(TurnSettings(), by_level(), 0).add(TALK)
    assert marks(pieces) == marks(at_once)
    assert np.array_equal(sound(pieces), sound(at_once))


def test_a_click_is_no_turn() -> None:
    click = np.concatenate([room(1), hum(0.03), room(1)])
    assert Turns(TurnSettings(), by_level(), 0).add(click) == []


def test_a_loud_room_is_no_speech_but_speech_in_it_is() -> None:
    fan = room(12, level=0.01)
    fan[sample_count(6) : sample_count(7)] += hum(1)
    began, ended = marks(Turns(TurnSettings(), by_level(), 0).add(fan))
    assert (began, ended) == pytest.approx((5.7, 7.5), abs=0.05)


@pytest.mark.parametrize(
    ("threshold", "likelihood", "turns"),
    [(0.5, 0.49, 0), (0.5, 0.5, 1), (0.9, 0.8, 0), (0.2, 0.3, 1), (0.0, 0.04, 0), (1.0, 0.96, 1)],
)
def test_the_threshold_is_how_likely_a_block_is_speech(
    threshold: float, likelihood: float, turns: int
) -> None:
    stream = Scripted(likely(*[0.0] * 10 + [likelihood] * 20 + [0.0] * 70))
    pieces = Turns(TurnSettings(threshold=threshold), stream, 0).add(room(3))
    assert len(marks(pieces)) == 2 * turns


def test_a_turn_lasts_while_speech_is_only_a_little_less_likely() -> None:
    stream = Scripted(likely(*[0.6] * 5 + [0.36] * 40 + [0.34] * 40))
    assert marks(Turns(TurnSettings(), stream, 0).add(room(3))) == pytest.approx([0, 1.952])


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 100, 511, 512, 513, 3000]), max_size=12), st.data())
def test_releases_at_any_place_lose_and_double_no_sample(
    sizes: list[int], data: st.DataObject
) -> None:
    """What is given out begins where the turn is said to begin, and goes on from there."""
    likelihoods = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=200, max_size=200))
    turns = Turns(TurnSettings(silence_s=0.1), Scripted(likely(*likelihoods)), 0)
    place = expected = 0
    for size in sizes:
        numbers = np.arange(place, place + size, dtype=np.float32)
        place += size
        for piece in turns.add(numbers):
            if isinstance(piece, TurnBegan):
                assert piece.at >= expected
                expected = piece.at
            elif isinstance(piece, np.ndarray):
                assert piece.tolist() == list(range(expected, expected + len(piece)))
                expected += len(piece)
        if data.draw(st.booleans()):
            released = turns.release()
            assert released.tolist() == list(range(place - len(released), place))
            assert place - len(released) >= expected
            expected = place


def test_what_is_held_back_is_released() -> None:
    turns = Turns(TurnSettings(), by_level(), 1600)
    assert turns.add(room(1.01)) == []
    held = sample_count(0.3) + 3 * BLOCK_SAMPLES + sample_count(1.01) % BLOCK_SAMPLES
    assert turns.release().tolist() == room(1.01)[-held:].tolist()
    assert len(turns.release()) == 0
    (began, _, *_) = turns.add(hum(0.15))
    assert began == TurnBegan(1600 + sample_count(1.01))
    assert turns.is_speaking
    assert len(turns.release()) < BLOCK_SAMPLES
    assert not turns.is_speaking


def test_a_turn_that_began_before_is_ended() -> None:
    turns = Turns(TurnSettings(), by_level(), 0, is_speaking=True)
    assert marks(turns.add(room(1))) == pytest.approx([0.5], abs=BLOCK_S)


PAUSES = TurnSettings(
    prefix_padding_s=0,
    silence_s=8 * BLOCK_S,
    end_threshold=0.3,
    pause=PauseSettings(threshold=0.5, silence_s=4 * BLOCK_S, timeout_s=20 * BLOCK_S),
)


def events(settings: TurnSettings, *parts: tuple[float, int]) -> list[tuple[str, int]]:
    """The marks of turns, with the block they are after; parts: likelihoods, and how often."""
    likelihoods = likely(*(value for value, times in parts for _ in range(times)))
    silence = np.zeros(BLOCK_SAMPLES * len(likelihoods), dtype=np.float32)
    pieces = Turns(settings, Scripted(likelihoods), 0).add(silence)
    return [
        (type(piece).__name__, piece.at // BLOCK_SAMPLES)
        for piece in pieces
        if not isinstance(piece, np.ndarray)
    ]


def test_a_pause_is_reported_and_then_the_turn_goes_on_or_ends() -> None:
    told = events(PAUSES, (0.9, 5), (0.1, 6), (0.9, 5), (0.1, 20))
    assert told == [
        ("TurnBegan", 0),
        ("TurnPaused", 9),
        ("TurnResumed", 12),
        ("TurnPaused", 20),
        ("TurnEnded", 24),
    ]


def test_a_short_pause_is_not_reported() -> None:
    told = events(PAUSES, (0.9, 5), (0.1, 3), (0.9, 5), (0.1, 3), (0.9, 1))
    assert told == [("TurnBegan", 0)]


def test_a_pause_that_is_not_silent_ends_the_turn_by_its_length() -> None:
    assert events(PAUSES, (0.9, 5), (0.4, 30)) == [
        ("TurnBegan", 0),
        ("TurnPaused", 9),
        ("TurnEnded", 25),
    ]
    for_ever = PauseSettings(threshold=0.5, silence_s=0.1, timeout_s=None)
    endless = TurnSettings(prefix_padding_s=0, end_threshold=0.3, pause=for_ever)
    assert "TurnEnded" not in dict(events(endless, (0.9, 5), (0.4, 300)))


def test_the_end_says_whether_it_was_a_timeout() -> None:
    for likelihood, is_timeout in ((0.4, True), (0.1, False)):
        likelihoods = likely(0.9) * 5 + likely(likelihood) * 30
        silence = np.zeros(BLOCK_SAMPLES * 35, dtype=np.float32)
        pieces = Turns(PAUSES, Scripted(likelihoods), 0).add(silence)
        (end,) = [piece for piece in pieces if isinstance(piece, TurnEnded)]
        assert end.is_timeout is is_timeout


COMMAND = TurnSettings(silence_s=8 * BLOCK_S, is_command=True)


def test_a_command_is_all_sound_until_the_silence_after_its_speech() -> None:
    told = events(COMMAND, (0.1, 40), (0.9, 5), (0.1, 20), (0.9, 10), (0.1, 20), (0.9, 20))
    assert told == [("TurnBegan", 0), ("TurnEnded", 83)]
    assert events(COMMAND, (0.1, 90)) == [("TurnBegan", 0)]


def test_nothing_of_a_command_is_held_back_and_nothing_after_it_is_given() -> None:
    likelihoods = likely(0.1) * 2 + likely(0.9) * 10 + likely(0.1) * 20
    tape = np.arange(BLOCK_SAMPLES * 32 + 7, dtype=np.float32)
    turns = Turns(COMMAND, Scripted(likelihoods), 0)
    pieces = turns.add(tape[:BLOCK_SAMPLES]) + turns.add(tape[BLOCK_SAMPLES:])
    assert np.array_equal(sound(pieces), tape[: 20 * BLOCK_SAMPLES])
    assert not len(turns.release())


def test_a_command_that_the_client_ends_has_all_its_sound() -> None:
    tape = np.arange(BLOCK_SAMPLES + 7, dtype=np.float32)
    turns = Turns(COMMAND, Scripted(likely(0.9)), 0)
    began, *pieces = turns.add(tape)
    assert began == TurnBegan(0, has_speech=False)
    assert np.array_equal(np.concatenate([*pieces, turns.release()]), tape)
