"""When engine sessions make way for each other, by hand; test_endless.py has it all together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.config import RolloverSettings
from lanscribe.endless.rollover import (
    MOST_DEAF,
    TWO_WITNESSES_S,
    Cut,
    Deafness,
    Patience,
    Rollover,
    Start,
    Timing,
    within,
)
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import LevelDetector, SpeechMap
from lanscribe.speech.transcript import Token
from lanscribe.voxtral.steps import STEP_S
from tests.flawed import FAST
from tests.scripted import Scripted, likely

SETTINGS = replace(FAST, target_s=60, limit_s=90)
FRAME = sample_count(0.05)
FROM_THE_START = Start(0.0, is_clean=True)


def speech(seconds: float, level: float = 0.1) -> Samples:
    return np.full(sample_count(seconds), level, dtype=np.float32)


def silence(seconds: float) -> Samples:
    return speech(seconds, level=0.0)


def heard_by(*sound: Samples) -> SpeechMap:
    speech_map = SpeechMap(LevelDetector().stream())
    speech_map.add(np.concatenate(sound))
    speech_map.finish()
    return speech_map


def first_cut(*sound: Samples, engine: Timing = FAST) -> Cut | None:
    """Where an engine session ends that may have 4 s, and 6 s where there is no pause of 0.4 s."""
    whole_s = duration_s(sum(map(len, sound)))
    return Rollover(engine, FROM_THE_START, heard_by(*sound)).cut_by(whole_s)


def following(*sound: Samples, start: Start = FROM_THE_START) -> Rollover:
    """A rollover whose engine session was given that sound."""
    rollover = Rollover(SETTINGS, start, heard_by(*sound))
    rollover.fed_s = duration_s(sum(map(len, sound)))
    return rollover


def test_an_engine_session_ends_in_the_first_pause_after_its_time() -> None:
    cut = first_cut(speech(2), silence(1), speech(1.5), silence(0.3), speech(0.2), silence(1))
    assert cut is not None
    assert cut.is_in_pause
    assert cut.at_s == pytest.approx(5.4, abs=0.06)
    assert not cut.is_uncertain(Token(" word", 5.2))
    assert cut.is_uncertain(Token(" word", 5.4))


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


def test_a_pause_needs_two_witnesses_at_first_and_the_detector_alone_after_half_a_minute() -> None:
    """Room noise that is a sound by its level, while the detector hears nobody speak."""
    noise = np.random.default_rng(3).normal(0, 0.003, (1000, FRAME)).astype(np.float32)
    noise[2::4] = noise[3::4] = 0
    sound = noise.ravel()
    speech_map = SpeechMap(Scripted(likely(*[1.0] * 125 + [0.0] * 2000)))
    speech_map.add(sound)
    settings = Timing(target_s=5, limit_s=100, idle_s=1000)
    cut = Rollover(settings, FROM_THE_START, speech_map).cut_by(50.0)
    assert cut is not None
    assert cut.is_in_pause
    assert cut.at_s == pytest.approx(5 + TWO_WITNESSES_S, abs=0.05)


@pytest.mark.parametrize("late_s", [-0.09, 0.0, 0.4])
def test_no_cut_is_clean_against_a_word_that_is_said_after_it(late_s: float) -> None:
    """The detector is wrong where the engine heard a word."""
    rollover = following(speech(5), silence(1))
    cut = Cut(5.9, is_in_pause=True)
    word = Token(" word", cut.at_s + late_s)
    assert cut.is_uncertain(word)
    rollover.withheld(word.end_s)
    start = rollover.after_cut(cut, said_s=4.5, oldest_s=0.0)
    assert not start.is_clean
    assert start.at_s < 4.6


def test_a_word_that_the_successor_hears_again_is_stitched_even_in_a_pause() -> None:
    rollover = following(speech(5), silence(1))
    cut = Cut(5.9, is_in_pause=True)
    assert rollover.after_cut(cut, said_s=5.0, oldest_s=0.0).is_clean
    again = rollover.after_cut(cut, said_s=5.78, oldest_s=0.0)
    assert not again.is_clean
    assert again.at_s < 4.0  # with words before it, by which it is known again


@settings(deadline=None)
@given(st.integers(1, 40))
def test_deafness_is_borne_ever_longer_and_heard_again_once(count: int) -> None:
    deafness = Deafness(16.0)
    assert deafness.longest_s == 16.0
    assert [deafness.again() for _ in range(count)] == [True] + [False] * (count - 1)
    assert deafness.longest_s == 16.0 * min(2 ** (count - 1), MOST_DEAF)
    deafness.heard(Token("", 99.0))
    assert deafness.longest_s == 16.0 * min(2 ** (count - 1), MOST_DEAF)
    deafness.heard(Token(" word", 99.0))
    assert deafness.longest_s == 16.0
    assert deafness.again()


@pytest.mark.parametrize(
    ("sound", "idle_s"),
    [
        ([silence(9)], None),
        ([silence(10.5)], 10.0),
        ([speech(12)], None),
        ([speech(12), silence(9)], None),
        ([speech(2), silence(10.5)], 12.0),
    ],
    ids=["short", "long", "speech", "soon after speech", "long after speech"],
)
def test_it_is_idle_when_nobody_spoke_for_ten_seconds(
    sound: list[Samples], idle_s: float | None
) -> None:
    cut = first_cut(*sound, engine=SETTINGS)
    assert (cut and cut.at_s) == (idle_s and pytest.approx(idle_s, abs=0.06))
    assert cut is None or cut.is_idle


def test_a_word_that_comes_while_the_engine_is_let_go_is_no_silence() -> None:
    idle = following(silence(20))
    idle.heard(Token("", 20.0))
    cut = Cut(20.0, is_in_pause=True, is_idle=True)
    assert idle.confirms(cut)
    assert idle.after_cut(cut, 0.0, 0.0) == Start(cut.at_s, is_clean=True, is_quiet=True)
    idle.heard(Token(" late", 19.0))
    start = idle.after_cut(cut, 19.0, 0.0)
    assert not start.is_quiet
    assert start.at_s < 19.0
    assert not idle.confirms(cut)


@pytest.mark.parametrize(("heard_s", "is_close"), [(7.9, False), (15.0, True), (20.0, True)])
def test_an_engine_is_asked_about_a_silence_once_it_has_heard_half_of_it(
    heard_s: float, is_close: bool
) -> None:
    """An engine listens some time after it was fed: a word may be still to come."""
    rollover = following(silence(20))
    assert (rollover.unheard_s, rollover.is_close) == (20.0, False)
    rollover.listened(heard_s)
    rollover.listened(1.0)  # an older position changes nothing
    assert rollover.unheard_s == pytest.approx(20.0 - heard_s)
    assert rollover.is_close is is_close


@pytest.mark.parametrize("said_s", [3.0, 4.9])
def test_an_engine_session_without_audio_is_let_go_and_the_next_waits_for_some(
    said_s: float,
) -> None:
    in_speech = following(speech(5))
    cut = in_speech.starved()
    assert not cut.is_in_pause
    start = in_speech.after_cut(cut, said_s, oldest_s=0.0)
    assert start.not_before_s == pytest.approx(5.0)
    assert start.at_s < said_s
    assert not start.is_clean
    in_pause = following(speech(5), silence(1))
    assert in_pause.starved().is_in_pause
    start = in_pause.after_cut(in_pause.starved(), said_s, oldest_s=0.0)
    assert start.is_clean
    assert start.not_before_s == pytest.approx(6.0)


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
    assert start.at_s == pytest.approx(begins_s, abs=0.06)
    assert not start.is_clean


def test_who_broke_before_the_first_word_is_followed_from_the_same_place() -> None:
    start = Start(16.0, is_clean=True)
    broken = following(speech(20), start=start)
    assert broken.after_failure(15.0, oldest_s=0.0) == start
    assert broken.after_failure(15.0, oldest_s=18.0) == Start(18.0, is_clean=False)


def test_who_breaks_after_long_noise_without_a_word_is_not_followed_from_its_beginning() -> None:
    broken = following(speech(60))
    start = broken.after_failure(known_s=50.0, oldest_s=0.0)
    assert start.at_s == pytest.approx(48.0)


@settings(deadline=None)
@given(st.floats(0, 300), st.floats(0, 300))
def test_a_second_deaf_session_is_followed_just_before_its_end(
    heard_s: float, oldest_s: float
) -> None:
    """Its last seconds are heard again: a word may have begun there."""
    deaf = Rollover(SETTINGS, FROM_THE_START, heard_by(silence(0.1)))
    deaf.listened(heard_s)
    start = deaf.passing_over(oldest_s)
    assert start == Start(start.at_s, is_clean=False)
    if start.at_s > oldest_s:
        assert start.at_s == pytest.approx(heard_s - SETTINGS.overlap_s, abs=0.51 * STEP_S)
        assert start.at_s / STEP_S == pytest.approx(round(start.at_s / STEP_S))
    else:
        assert start.at_s == oldest_s
        assert oldest_s >= heard_s - SETTINGS.overlap_s - 0.51 * STEP_S


@settings(deadline=None)
@given(
    st.builds(
        Timing,
        target_s=st.floats(1, 86_400),
        limit_s=st.floats(2, 86_400),
        overlap_s=st.floats(0.5, 60),
        idle_s=st.floats(3, 86_400),
    ),
    st.none() | st.floats(1, 86_400),
)
def test_whatever_is_wished_each_session_gets_further_and_may_end_in_a_pause(
    wished: Timing, max_session_s: float | None
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
    assert within(Timing(), max_session_s) == Timing()


def test_the_settings_decide_lengths_and_patience() -> None:
    timing = Timing.of(RolloverSettings(target_s=20, limit_s=25, retry_s=7))
    assert timing == Timing(target_s=20, limit_s=25, retry_s=7)


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
