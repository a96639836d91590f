"""Turns in made sound: a hum for speech, a faint noise for the room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.audio import Samples, sample_count
from lanscribe.turns import TurnBegan, TurnEnded, TurnPiece, Turns, TurnSettings


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
    pieces = Turns(TurnSettings(), 0).add(TALK)
    assert marks(pieces) == pytest.approx([0.7, 3.3, 3.5, 4.9])
    turns = [TALK[sample_count(0.7) : sample_count(3.3)], TALK[sample_count(3.5) :]]
    assert sound(pieces).tolist() == [*turns[0].tolist(), *turns[1][: sample_count(1.4)].tolist()]


def test_silence_and_padding_are_as_long_as_asked_for() -> None:
    short = Turns(TurnSettings(prefix_padding_s=0, silence_s=0.2), 0).add(TALK)
    assert marks(short) == pytest.approx([1.0, 2.2, 2.3, 3.0, 3.8, 4.6])
    long = Turns(TurnSettings(silence_s=1.5), 0).add(TALK)
    assert marks(long) == pytest.approx([0.7, 5.9])


@settings(deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=60))
def test_chunks_of_any_size_make_the_same_turns(sizes: list[int]) -> None:
    turns, pieces, start = Turns(TurnSettings(), 0), [], 0
    for size in sizes:
        pieces += turns.add(TALK[start : start + size])
        start += size
    pieces += turns.add(TALK[start:])
    at_once = Turns(TurnSettings(), 0).add(TALK)
    assert marks(pieces) == marks(at_once)
    assert np.array_equal(sound(pieces), sound(at_once))


def test_a_click_is_no_turn() -> None:
    click = np.concatenate([room(1), hum(0.05), room(1)])
    assert Turns(TurnSettings(), 0).add(click) == []


def test_a_loud_room_is_no_speech_but_speech_in_it_is() -> None:
    fan = room(12, level=0.01)
    fan[sample_count(6) : sample_count(7)] += hum(1)
    began, ended = marks(Turns(TurnSettings(), 0).add(fan))
    assert (began, ended) == pytest.approx((5.7, 7.5), abs=0.05)


@pytest.mark.parametrize(("threshold", "turns"), [(0.1, 1), (0.5, 1), (0.9, 0)])
def test_a_higher_threshold_asks_for_louder_speech(threshold: float, turns: int) -> None:
    quiet = np.concatenate([room(1), hum(1, level=0.006), room(1)])
    pieces = Turns(TurnSettings(threshold=threshold), 0).add(quiet)
    assert len(marks(pieces)) == 2 * turns


def test_what_is_held_back_is_released() -> None:
    turns = Turns(TurnSettings(), 1600)
    assert turns.add(room(1.01)) == []
    assert turns.release().tolist() == room(1.01)[sample_count(0.6) :].tolist()
    assert len(turns.release()) == 0
    (began, _) = turns.add(hum(0.1))
    assert began == TurnBegan(1600 + sample_count(1.01))
    assert turns.is_speaking
    assert len(turns.release()) == 0
    assert not turns.is_speaking


def test_a_turn_that_began_before_is_ended() -> None:
    turns = Turns(TurnSettings(), 0, is_speaking=True)
    assert marks(turns.add(room(1))) == [0.5]
