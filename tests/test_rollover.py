"""When engine sessions make way for each other, by hand; test_endless.py has it all together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.audio import Samples, sample_count
from lanscribe.config import RolloverSettings
from lanscribe.engines.base import Token
from lanscribe.rollover import Cut, NoiseFloor, Patience, Rest, Rollover, Start, within
from tests.flawed import FAST

SETTINGS = FAST.model_copy(update={"target_s": 60, "limit_s": 90})
FRAME = sample_count(0.05)
FROM_THE_START = Start(0.0, is_clean=True)


def speech(seconds: float, level: float = 0.1) -> Samples:
    return np.full(sample_count(seconds), level, dtype=np.float32)


def silence(seconds: float) -> Samples:
    return speech(seconds, level=0.0)


def first_cut(*sound: Samples) -> Cut | None:
    """Where an engine session ends that may have 4 s, and 6 s where there is no pause of 0.4 s."""
    rollover = Rollover(FAST, FROM_THE_START, NoiseFloor())
    pieces = np.split(np.concatenate(sound), range(FRAME, sum(map(len, sound)), FRAME))
    return next((cut for piece in pieces if (cut := rollover.fed(piece))), None)


def following(*sound: Samples, start: Start = FROM_THE_START) -> Rollover:
    """A rollover whose engine session was given that sound."""
    rollover = Rollover(SETTINGS, start, NoiseFloor())
    for piece in np.split(np.concatenate(sound), range(FRAME, sum(map(len, sound)), FRAME)):
        rollover.fed(piece)
    return rollover


def test_an_engine_session_ends_in_the_first_pause_after_its_time() -> None:
    cut = first_cut(speech(2), silence(1), speech(1.5), silence(0.3), speech(0.2), silence(1))
    assert cut is not None
    assert cut.is_in_pause
    assert cut.at_s == pytest.approx(5.4, abs=0.06)
    assert not cut.is_uncertain(Token(" word", 5.4))


def test_an_engine_session_that_is_in_a_pause_when_its_time_comes_ends_at_once() -> None:
    cut = first_cut(speech(3), silence(3))
    assert cut is not None
    assert cut.at_s == pytest.approx(4.0, abs=0.06)


def test_where_nobody_pauses_it_ends_in_speech_and_the_last_word_is_left_to_the_next() -> None:
    cut = first_cut(speech(10))
    assert cut is not None
    assert not cut.is_in_pause
    assert cut.at_s == pytest.approx(6.0, abs=0.06)
    assert cut.is_uncertain(Token(" wo", 5.9))
    assert not cut.is_uncertain(Token(" whole", 5.0))
    assert first_cut(speech(5.9)) is None


def test_speech_without_words_is_a_rut_and_silence_without_words_is_none() -> None:
    deaf = following(speech(3), silence(10), speech(3))
    assert not deaf.heard(Token("", 13.0))
    assert not deaf.heard(Token("", 13.9))
    assert deaf.heard(Token("", 14.1))


def test_a_word_ends_a_rut_before_it_is_one() -> None:
    slow = following(speech(10))
    assert not slow.heard(Token("", 3.0))
    assert not slow.heard(Token(" well", 3.5))
    assert not slow.heard(Token("", 7.4))
    assert slow.heard(Token("", 7.6))


@pytest.mark.parametrize(
    ("sound", "is_silent"),
    [
        ([silence(9)], False),
        ([silence(10.5)], True),
        ([speech(12)], False),
        ([speech(12), silence(9)], False),
        ([speech(2), silence(10.5)], True),
    ],
    ids=["short", "long", "speech", "soon after speech", "long after speech"],
)
def test_it_is_silent_when_there_was_no_sound_for_ten_seconds(
    sound: list[Samples], is_silent: bool
) -> None:
    assert following(*sound).is_silent is is_silent


def test_a_word_that_comes_while_the_engine_is_let_go_is_no_silence() -> None:
    idle = following(silence(20))
    idle.heard(Token("", 20.0))
    cut = idle.idle()
    assert cut is not None
    assert idle.after_cut(cut, 0.0, 0.0) == Start(cut.at_s, is_clean=True, is_quiet=True)
    idle.heard(Token(" late", 19.0))
    start = idle.after_cut(cut, 19.0, 0.0)
    assert not start.is_quiet
    assert start.at_s < 19.0
    assert idle.idle() is None


@pytest.mark.parametrize(
    ("said_s", "oldest_s", "begins_s"),
    [
        (8.0, 0.0, 5.8),  # at the end of the pause
        (5.5, 0.0, 5.3),  # said in the middle of it
        (10.0, 0.0, 8.0),  # the pause is too long ago: overlap_s before
        (10.0, 9.0, 9.0),  # older sound is not there any more
    ],
)
def test_after_a_break_it_is_heard_again_from_the_last_pause(
    said_s: float, oldest_s: float, begins_s: float
) -> None:
    broken = following(speech(5), silence(1), speech(6))
    broken.heard(Token(" word", said_s))
    start = broken.after_failure(said_s, oldest_s)
    assert start.at_s == pytest.approx(begins_s, abs=0.05)
    assert not start.is_clean


def test_who_broke_before_the_first_word_is_followed_from_the_same_place() -> None:
    start = Start(16.0, is_clean=True)
    broken = following(speech(5), start=start)
    assert broken.after_failure(15.0, oldest_s=0.0) == start
    assert broken.after_failure(15.0, oldest_s=18.0) == Start(18.0, is_clean=False)


def test_one_sound_of_two_frames_wakes_the_engine_and_a_click_does_not() -> None:
    rest = Rest(SETTINGS, 10.0, NoiseFloor())
    assert rest.listened(silence(5), is_end=False) is None
    assert rest.listened(np.concatenate([speech(0.05), silence(1)]), is_end=False) is None
    start = rest.listened(np.concatenate([speech(0.1), silence(1)]), is_end=False)
    assert start is not None
    assert start.is_clean
    assert 16.15 - SETTINGS.pre_roll_s - 0.4 < start.at_s < 16.05 - SETTINGS.pre_roll_s


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.07])
def test_at_the_end_of_the_audio_even_the_beginning_of_a_sound_counts(seconds: float) -> None:
    sound = np.concatenate([silence(5), speech(seconds)])
    assert Rest(SETTINGS, 0.0, NoiseFloor()).listened(sound, is_end=False) is None
    assert Rest(SETTINGS, 0.0, NoiseFloor()).listened(sound, is_end=True) is not None
    assert Rest(SETTINGS, 0.0, NoiseFloor()).listened(silence(5), is_end=True) is None


@given(
    st.builds(
        RolloverSettings,
        target_s=st.floats(1, 86_400),
        limit_s=st.floats(2, 86_400),
        overlap_s=st.floats(0.5, 60),
        idle_s=st.floats(3, 86_400),
    ),
    st.none() | st.floats(1, 86_400),
)
def test_whatever_is_wished_each_session_gets_further_and_may_end_in_a_pause(
    wished: RolloverSettings, max_session_s: float | None
) -> None:
    fitting = within(wished, max_session_s)
    assert fitting.limit_s < (max_session_s or float("inf"))
    assert fitting.target_s < fitting.limit_s
    assert 2 * fitting.overlap_s < fitting.limit_s
    assert fitting.idle_s < fitting.limit_s
    for name in ("limit_s", "target_s", "overlap_s", "idle_s"):
        assert getattr(fitting, name) <= getattr(wished, name)


@pytest.mark.parametrize("max_session_s", [None, 1000.0])
def test_what_fits_is_left_as_it_was_wished(max_session_s: float | None) -> None:
    assert within(RolloverSettings(), max_session_s) == RolloverSettings()


def test_an_engine_that_breaks_without_progress_has_three_more_attempts() -> None:
    patience = Patience(retry_s=300.0)
    waits_s = [patience.failed(0.0, 10.0, is_away=False) for _ in range(4)]
    assert waits_s == [0.0, 0.5, 1.0, None]


def test_an_engine_that_gets_further_each_time_may_break_for_ever() -> None:
    patience = Patience(retry_s=300.0)
    waits_s = [patience.failed(0.0, 1.5 * number, is_away=False) for number in range(1, 50)]
    assert waits_s == [0.0] * 49


def test_an_engine_that_is_away_is_asked_every_two_seconds_until_it_is_too_long() -> None:
    patience = Patience(retry_s=300.0)
    waits_s = [patience.failed(now_s, 10.0, is_away=True) for now_s in (50, 51, 52, 100, 349)]
    assert waits_s == [0.0, 0.5, 1.0, 2.0, 2.0]
    assert patience.failed(350.0, 10.0, is_away=True) is None


def test_what_was_before_a_good_end_is_forgiven() -> None:
    patience = Patience(retry_s=300.0)
    for now_s in (0.0, 200.0):
        patience.failed(now_s, 0.0, is_away=True)
        patience.failed(now_s, 0.0, is_away=False)
    patience.progressed()
    assert patience.failed(400.0, 0.0, is_away=True) == 0.0
    assert [patience.failed(400.0, 0.0, is_away=False) for _ in range(3)] == [0.5, 1.0, 2.0]
