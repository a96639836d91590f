"""The session state machine, driven by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    Done,
    Failure,
    Finish,
    Lost,
    Reply,
    TellTentative,
    Utterance,
)
from lanscribe.errors import EngineFailed, LimitError
from lanscribe.session.state import MAX_UTTERANCES, RECORDING_SAMPLES, Session
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.captions import Word
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token

START, END = Commit(is_final=False), Commit(is_final=True)


def make(max_waiting_samples: int = 1000) -> Session:
    return Session(max_waiting_samples, LevelDetector())


def audio(count: int, value: float = 0.0) -> AppendAudio:
    return AppendAudio(np.full(count, value, dtype=np.float32))


def take_all(session: Session) -> Samples:
    blocks = [np.empty(0, dtype=np.float32)]
    while session.has_audio:
        blocks.append(session.take_audio())
    return np.concatenate(blocks)


def test_nothing_runs_before_the_first_commit() -> None:
    session = make()
    session.receive(audio(10), 0.0)
    assert not session.is_busy
    session.receive(START, 0.0)
    assert session.is_busy
    assert len(take_all(session)) == 10
    assert not session.is_ended


def test_a_final_commit_alone_starts_and_ends() -> None:
    session = make()
    session.receive(audio(10), 0.0)
    session.receive(END, 0.0)
    assert session.is_busy
    assert session.is_ended


def test_a_commit_while_one_runs_changes_nothing() -> None:
    session = make()
    session.receive(START, 0.0)
    session.receive(audio(10), 0.0)
    session.receive(START, 0.0)
    assert len(take_all(session)) == 10
    session.receive(END, 0.0)
    session.completed()
    assert not session.is_busy


def test_text_accumulates_into_done() -> None:
    session = make()
    session.receive(START, 0.0)
    session.receive(audio(1600), 0.0)
    session.receive(END, 0.0)
    take_all(session)
    assert session.heard(Token("Hello", 0.05)) == Delta("Hello", 0.05, lag_s=0.1 - 0.05)
    assert session.heard(Token("", 0.08)) == Delta("", 0.08, lag_s=0.1 - 0.08)
    session.heard(Token(" world", 0.1))
    words = (Word("Hello", 0.0, 0.05), Word("world", 0.05, 0.1))
    assert session.completed() == [Done("Hello world", 0.1, 2, words)]


def test_audio_after_a_final_commit_waits_for_the_next_utterance() -> None:
    session = make()
    for event in (audio(3, 0.1), END, audio(4, 0.2), START):
        session.receive(event, 0.0)
    assert take_all(session).tolist() == pytest.approx([0.1] * 3)
    session.completed()
    assert session.is_busy
    assert take_all(session).tolist() == pytest.approx([0.2] * 4)


def test_too_much_audio_before_a_commit_is_refused_and_the_rest_kept() -> None:
    session = make(max_waiting_samples=10)
    session.receive(audio(10), 0.0)
    assert session.has_room
    with pytest.raises(LimitError) as caught:
        session.receive(audio(1), 0.0)
    assert caught.value.code == "audio_buffer_full"
    session.receive(START, 0.0)
    assert not session.has_room
    assert len(take_all(session)) == 10
    assert session.has_room


@pytest.mark.parametrize("begin", [Reply(()), Reply(("pong",))], ids=str)
def test_of_a_recording_less_may_wait_than_of_a_live_voice(begin: ClientEvent) -> None:
    recording = make(max_waiting_samples=10 * RECORDING_SAMPLES)
    recording.receive(audio(RECORDING_SAMPLES), 0.0)
    assert recording.has_room  # no commit has claimed it: waiting would be for ever
    recording.receive(START, 0.0)
    assert not recording.is_live
    assert not recording.has_room
    recording.take_audio()
    assert recording.has_room
    live = make(max_waiting_samples=10 * RECORDING_SAMPLES)
    live.receive(begin, 0.0)
    live.receive(audio(RECORDING_SAMPLES), duration_s(RECORDING_SAMPLES))
    live.receive(START, duration_s(RECORDING_SAMPLES))
    assert live.is_live
    assert live.has_room


def test_too_many_waiting_utterances_are_refused() -> None:
    session = make()
    for _ in range(MAX_UTTERANCES - 1):
        session.receive(END, 0.0)
    with pytest.raises(LimitError) as caught:
        session.receive(END, 0.0)
    assert caught.value.code == "too_many_utterances"
    assert session.has_room  # or the refusal could not be told
    for _ in range(MAX_UTTERANCES - 1):
        session.completed()
    session.receive(END, 0.0)
    assert session.is_busy


def test_a_failed_open_utterance_keeps_its_audio_for_the_next_commit() -> None:
    session = make()
    session.receive(START, 0.0)
    session.receive(audio(10), 0.0)
    error = EngineFailed("broken")
    lost = Lost(text="", start_s=0.0, end_s=0.0)
    assert session.failed(error) == [Failure(error, lost, Utterance(1))]
    assert not session.is_busy
    session.receive(START, 0.0)
    assert len(take_all(session)) == 10


def test_no_two_utterances_have_the_same_number_whatever_breaks() -> None:
    """Clients know an utterance by its number: a second one of it would be taken for the first."""
    session = make()
    numbers = []
    for _ in range(3):
        session.receive(START, 0.0)
        session.receive(audio(10), 0.0)
        numbers.append(session.progress().of.number)
        session.failed(EngineFailed("broken"))
        session.receive(END, 0.0)
        numbers.append(session.progress().of.number)
        session.completed()
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_failed_ended_utterance_gives_way_to_the_next() -> None:
    session = make()
    for event in (audio(3), END, audio(4), END):
        session.receive(event, 0.0)
    session.failed(EngineFailed("broken"))
    assert len(take_all(session)) == 4


def test_stop_ends_what_was_started_and_forgets_the_rest() -> None:
    session = make()
    for event in (audio(3), START, audio(4)):
        session.receive(event, 0.0)
    session.stop()
    assert session.is_ended
    assert not session.is_cut
    assert len(take_all(session)) == 7
    assert not session.is_over
    session.completed()
    assert session.is_over


def test_stop_without_a_commit_is_over_at_once() -> None:
    session = make()
    session.receive(audio(3), 0.0)
    session.stop()
    assert session.is_over


def test_who_sends_audio_and_never_commits_is_waited_for() -> None:
    """So that an idle timeout ends the session, which nobody else would."""
    session = make()
    session.receive(audio(10), 0.0)
    assert session.is_waiting_for_client


def test_waiting_for_the_client_is_not_waiting_for_the_engine() -> None:
    session = make()
    assert session.is_waiting_for_client
    session.receive(START, 0.0)
    assert session.is_waiting_for_client
    session.receive(audio(3), 0.0)
    assert not session.is_waiting_for_client
    take_all(session)
    assert session.is_waiting_for_client
    session.receive(END, 0.0)
    assert not session.is_waiting_for_client


@given(st.lists(st.one_of(st.integers(1, 300), st.sampled_from(["start", "end", "engine"]))))
def test_every_committed_sample_is_transcribed_once_and_in_order(steps: list[int | str]) -> None:
    session = make(max_waiting_samples=10**9)
    sent, heard = 0, []
    for step in steps:
        if isinstance(step, int):
            session.receive(AppendAudio(np.arange(sent, sent + step, dtype=np.float32)), 0.0)
            sent += step
        elif step == "start":
            session.receive(START, 0.0)
        elif step == "end":
            if sum(one == "end" for one in steps) < MAX_UTTERANCES:
                session.receive(END, 0.0)
        elif session.is_busy:
            heard.append(take_all(session))
            if session.is_ended:
                session.completed()
    session.receive(END, 0.0)
    while session.is_busy:
        heard.append(take_all(session))
        session.completed()
    assert np.array_equal(np.concatenate(heard), np.arange(sent))


def test_a_cancelled_utterance_is_given_up_and_the_next_begins() -> None:
    session = make()
    for event in (Commit(is_final=False, tag="a"), audio(10)):
        session.receive(event, 0.0)
    session.take_audio()
    assert session.receive(Cancel("a"), 0.0) == [Cancelled(Utterance(1, "a"))]
    assert session.is_cancelled
    assert session.is_ended
    assert session.completed() == []
    session.receive(audio(1600), 0.0)
    session.receive(Commit(is_final=True, tag="b"), 0.0)
    assert len(take_all(session)) == 1600
    (done,) = session.completed()
    assert isinstance(done, Done)
    assert done.of == Utterance(2, "b", offset_s=10 / 16_000)


def test_nobody_is_told_that_the_engine_broke_on_what_was_given_up() -> None:
    session = make()
    for event in (START, audio(10), Cancel(), audio(20), END):
        session.receive(event, 0.0)
    assert session.failed(EngineFailed("broken")) == []
    assert len(take_all(session)) == 20


def test_a_waiting_utterance_can_be_cancelled_while_another_runs() -> None:
    session = make()
    for tag in ("a", "b", "c"):
        session.receive(audio(10), 0.0)
        session.receive(Commit(is_final=True, tag=tag), 0.0)
    assert session.receive(Cancel("b"), 0.0) == [Cancelled(Utterance(2, "b", 10 / 16_000))]
    assert session.receive(Cancel("b"), 0.0) == []
    assert session.receive(Cancel("unknown"), 0.0) == []
    session.completed()
    (done,) = session.completed()
    assert isinstance(done, Done)
    assert done.of.tag == "c"


def test_cancelling_the_open_utterance_forgets_its_audio() -> None:
    session = make()
    session.receive(audio(10), 0.0)
    assert session.receive(Cancel(), 0.0) == [Cancelled(Utterance(1))]
    session.receive(audio(20), 0.0)
    session.receive(END, 0.0)
    assert len(take_all(session)) == 20


def test_each_end_is_confirmed_with_the_one_before_it() -> None:
    session = make()
    assert session.receive(START, 0.0) == []
    assert session.receive(END, 0.0) == [Committed(Utterance(1), previous=0)]
    assert session.receive(Cancel(), 0.0) == [Cancelled(Utterance(2))]
    assert session.receive(END, 0.0) == [Committed(Utterance(3), previous=1)]
    assert session.received_commits == 2


@pytest.mark.parametrize(
    ("settled_s", "start_s"), [(0.2, 0.5), (0.75, 0.75), (20.0, 20.0), (None, 100.0)]
)
def test_a_failure_tells_which_seconds_may_lack_words(
    settled_s: float | None, start_s: float
) -> None:
    """From where the text is complete: the engine may have listened further than it wrote down."""
    session = make(max_waiting_samples=2_000_000)
    session.receive(audio(1_920_000), 0.0)
    session.receive(END, 0.0)
    session.take_audio()
    session.heard(Token("a", 0.5, start_s=0.2))
    session.heard(Token("", 100.0, settled_s=settled_s))
    (failure,) = session.failed(EngineFailed("broken"))
    assert isinstance(failure, Failure)
    assert failure.lost == Lost(text="a", start_s=start_s, end_s=120.0)


def test_what_is_finished_is_said_and_no_more_taken() -> None:
    session = make()
    for event in (audio(10), START, Finish()):
        session.receive(event, 0.0)
    assert session.is_stopped
    assert session.is_ended
    assert len(take_all(session)) == 10
    session.completed()
    assert session.is_over


@given(st.lists(st.tuples(st.sampled_from(["", " a", "lost"]), st.floats(0, 100))))
def test_how_far_was_listened_never_goes_back(heard: list[tuple[str, float]]) -> None:
    """Also where another engine session takes over, and listens again from before."""
    session = make()
    session.receive(START, 0.0)
    furthest_s = 0.0
    for text, end_s in heard:
        is_lost = text == "lost"
        token = Token("" if is_lost else text, end_s, start_s=end_s / 2, is_lost=is_lost)
        delta = session.heard(token)
        furthest_s = max(furthest_s, end_s)
        assert delta.end_s == (end_s if delta.text else furthest_s)
        assert delta.lost == (Span(end_s / 2, end_s) if is_lost else None)
        assert delta.start_s == (None if is_lost else end_s / 2)


def test_words_that_may_still_change_are_told_to_who_wants_them() -> None:
    session = make()
    session.receive(START, 0.0)
    guess = Token("", 0.0, tentative=" one", is_tentative=True)
    assert not session.is_news(guess)
    assert session.is_news(Token("", 0.1, tentative=" one"))
    assert session.heard(Token("", 0.1, tentative=" one")).tentative == ""
    session.receive(TellTentative(True), 0.0)
    assert session.is_news(guess)
    assert session.heard(guess) == Delta("", 0.1, tentative=" one")
    assert session.progress().tentative == " one", "each delta tells them anew"
    session.receive(TellTentative(False), 0.0)
    assert not session.is_news(guess)
    assert session.progress().tentative == ""


def test_of_a_cancelled_utterance_nothing_is_news() -> None:
    session = make()
    session.receive(TellTentative(True), 0.0)
    session.receive(START, 0.0)
    session.receive(Cancel(), 0.0)
    assert not session.is_news(Token("", 0.0, tentative=" one", is_tentative=True))
    assert not session.is_news(Token(" one", 0.1))
