"""One utterance by itself: what it keeps of the audio and the tokens, and how it reports them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    Done,
    ServerEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.session.utterance import UtteranceState, turn_event
from lanscribe.speech.audio import sample_count
from lanscribe.speech.captions import Word
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token
from lanscribe.speech.turns import TurnBegan, TurnEnded, TurnMark, TurnPaused, TurnResumed

TIMES = st.floats(0, 1000)
TOKENS = st.lists(
    st.builds(
        Token,
        st.sampled_from([" the", "re", "."]),
        TIMES,
        start_s=st.none() | TIMES,
    )
    | st.builds(Token, st.just(""), TIMES, settled_s=st.none() | TIMES)
    | st.builds(Token, st.just(""), TIMES, start_s=st.none() | TIMES, is_lost=st.just(True)),
    max_size=30,
)


def silent(seconds: float = 2.0) -> UtteranceState:
    utterance = UtteranceState(1, 0)
    utterance.append(np.zeros(sample_count(seconds), dtype=np.float32))
    return utterance


@given(TOKENS)
def test_progress_never_goes_back_and_text_is_kept_in_order(tokens: list[Token]) -> None:
    utterance = UtteranceState(1, 0)
    for count, token in enumerate(tokens, 1):
        utterance.hear(token)
        heard = tokens[:count]
        assert utterance.heard_s == max(one.end_s for one in heard)
        assert utterance.settled_s == max(one.known_s for one in heard)
        assert utterance.transcript.text == "".join(one.text for one in heard)
    assert utterance.transcript.token_count == sum(bool(token.text) for token in tokens)


@given(TOKENS)
def test_only_lost_audio_is_told_and_kept_as_lost(tokens: list[Token]) -> None:
    utterance = UtteranceState(1, 0)
    for token in tokens:
        start_s = token.end_s if token.start_s is None else token.start_s
        lost = utterance.hear(token)
        assert lost == (Span(start_s, token.end_s) if token.is_lost else None)
        if lost and lost.start_s < lost.end_s:
            assert any(
                one.start_s <= lost.start_s and lost.end_s <= one.end_s for one in utterance.lost
            )
    assert bool(utterance.lost) == any(
        token.is_lost and token.begin_s < token.end_s for token in tokens
    )


def test_audio_waits_for_the_engine_and_is_judged() -> None:
    utterance = silent(0.4)
    assert utterance.no_speech is None  # too short to be judged
    utterance.append(np.zeros(sample_count(0.2), dtype=np.float32))
    assert len(utterance.waiting) == sample_count(0.6)
    assert utterance.no_speech == NoSpeech("zeros")


@pytest.mark.parametrize(
    ("token", "is_told"),
    [
        (Token("", 1.0), True),
        (Token(" ", 1.0), True),
        (Token(" word", 1.0), False),
        (Token("", 1.0, start_s=0.5, is_lost=True), False),
        (Token("", 1.0, start_s=1.0, is_lost=True), True),
    ],
)
def test_no_speech_is_told_only_if_nothing_else_says_that_there_was_some(
    token: Token, is_told: bool
) -> None:
    for is_turn in (False, True):
        utterance = silent()
        utterance.is_turn = is_turn
        utterance.hear(token)
        assert (utterance.no_speech is not None) == (is_told and not is_turn)


def test_its_end_reports_all_that_became_of_it() -> None:
    utterance = UtteranceState(3, sample_count(7.5), tag="mine")
    utterance.append(np.zeros(sample_count(4), dtype=np.float32))
    utterance.taken_samples = len(utterance.waiting.take())  # the rest is not transcribed
    assert utterance.done() == Done(
        *("", 1.0, 0, ()), of=Utterance(3, "mine", 7.5), no_speech=NoSpeech("zeros")
    )
    utterance.hear(Token(" one", 0.5, start_s=0.2))
    utterance.hear(Token("", 0.9, start_s=0.6, is_lost=True))
    utterance.hear(Token(" two", 1.0, start_s=0.9))
    assert utterance.done() == Done(
        text=" one two",
        audio_s=1.0,
        token_count=2,
        words=(Word("one", 0.2, 0.5), Word("two", 0.9, 1.0)),
        lost=(Span(0.6, 0.9),),
        of=Utterance(3, "mine", 7.5),
    )


@pytest.mark.parametrize(
    ("mark", "event"),
    [
        (TurnBegan(16_000), SpeechStarted(Utterance(), 1.0)),
        (TurnPaused(16_000), SpeechPaused(Utterance(), 1.0)),
        (TurnResumed(16_000), SpeechResumed(Utterance(), 1.0)),
        (TurnEnded(16_000), SpeechStopped(Utterance(), 1.0)),
        (TurnEnded(16_000, is_timeout=True), SpeechStopped(Utterance(), 1.0, is_forced=True)),
    ],
)
def test_a_mark_of_a_turn_is_reported_with_its_time(mark: TurnMark, event: ServerEvent) -> None:
    assert turn_event(mark, Utterance()) == event


def test_the_newest_token_tells_the_words_that_may_still_change_and_they_are_no_text() -> None:
    state = UtteranceState(1, 0)
    state.hear(Token(" one", 1.0, tentative=" two"))
    assert state.hear(Token("", 9.0, tentative=" three", is_tentative=True)) is None
    assert (state.tentative, state.heard_s, state.settled_s) == (" three", 1.0, 1.0)
    state.hear(Token("", 1.5))
    assert (state.tentative, state.transcript.text) == ("", " one")
