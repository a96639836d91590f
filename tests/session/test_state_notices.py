"""What a live client is told at once, without being asked: that it is behind, or sends zeros."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    ClientEvent,
    Commit,
    Delta,
    Reply,
    ServerEvent,
    Utterance,
)
from lanscribe.session.lag import LagMeter
from lanscribe.session.state import Session
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.silence import MUTED_S
from lanscribe.speech.transcript import Token

START, END = Commit(is_final=False), Commit(is_final=True)
CONNECTED = Reply(())
THRESHOLD_S = 5.0
ONE = Utterance(1)


def make(*events: ClientEvent, threshold_s: float = math.inf) -> Session:
    """A session of a client that connected at 0.0 of the clock."""
    meter = LagMeter(threshold_s)
    session = Session(sample_count(1000), LevelDetector(), meter)
    for event in (CONNECTED, *events):
        session.receive(event, 0.0)
    return session


def zeros(seconds: float) -> Samples:
    return np.zeros(sample_count(seconds), dtype=np.float32)


def sound(seconds: float) -> Samples:
    return np.full(sample_count(seconds), 0.25, dtype=np.float32)


def sent(session: Session, samples: Samples, from_s: float, to_s: float) -> list[ServerEvent]:
    """What it answers to this sound, sent in ten pieces at even times."""
    pieces = zip(np.array_split(samples, 10), np.linspace(from_s, to_s, 11)[1:], strict=True)
    return [
        told
        for piece, now_s in pieces
        for told in session.receive(AppendAudio(piece), float(now_s))
    ]


def behind_after(lag_s: float, *, is_behind: bool) -> bool:
    """A client that is behind has caught up at half of the lag at which it was told."""
    return lag_s > THRESHOLD_S / (2 if is_behind else 1)


def test_each_change_between_behind_and_caught_up_is_told_once() -> None:
    for seed in range(100):
        random_, session = random.Random(seed), make(START, threshold_s=THRESHOLD_S)
        sent_s = heard_s = 0.0
        is_behind = False
        for _ in range(30):
            sent_s += random_.choice([0.5, 1.0, 2.0])
            samples = sound(sent_s)[session.received_samples :]
            told = session.receive(AppendAudio(samples), sent_s)
            lag_s, was_behind = sent_s - heard_s, is_behind
            is_behind = behind_after(lag_s, is_behind=is_behind)
            delta = Delta("", heard_s, lag_s=lag_s, is_behind=is_behind, of=ONE)
            assert told == ([] if is_behind == was_behind else [delta]), f"seed {seed}"
            if random_.random() < 0.5:
                heard_s = random_.uniform(heard_s, sent_s)
                is_behind = behind_after(sent_s - heard_s, is_behind=is_behind)
                assert session.heard(Token("", heard_s)).is_behind is is_behind, f"seed {seed}"


def test_zeros_alone_are_told_once_until_there_is_sound_again() -> None:
    session = make(START)
    assert sent(session, zeros(MUTED_S - 1), 0.0, MUTED_S - 1) == []
    muted = Delta("", 0.0, lag_s=13.0, of=ONE, is_muted=True)
    assert sent(session, zeros(40), MUTED_S - 1, MUTED_S + 39) == [muted]
    assert sent(session, sound(1), 49.0, 50.0) == []
    assert sent(session, zeros(MUTED_S), 50.0, 60.0) == [replace(muted, lag_s=60.0)]
    assert session.progress() == replace(muted, lag_s=60.0, is_muted=False)


@pytest.mark.parametrize(
    ("events", "lasted_s"),
    [
        ([START], 0.0),  # a recording, which may well have digital silence
        ([], 20.0),  # nothing is transcribed yet
        ([START, Cancel()], 20.0),  # nobody waits for its text
    ],
    ids=["recording", "before the commit", "cancelled"],
)
def test_a_notice_that_nobody_can_use_is_not_sent(
    events: list[ClientEvent], lasted_s: float
) -> None:
    session = make(*events)
    assert sent(session, zeros(20), 0.0, lasted_s) == []


def test_a_stop_cuts_the_open_utterance_and_no_other() -> None:
    for is_cut in (False, True):
        session = make(AppendAudio(sound(1)), END, AppendAudio(sound(2)), START)
        session.stop(is_cut=is_cut)
        session.stop(is_cut=not is_cut)
        assert (session.is_ended, session.is_cut) == (True, False)
        session.completed()
        assert (session.is_ended, session.is_cut) == (True, is_cut)
        session.completed()
        session.stop()
        assert session.is_over
