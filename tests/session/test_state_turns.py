"""A session that is to find the utterances by itself."""

from collections.abc import Sequence

import numpy as np
import pytest

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    DetectTurns,
    Done,
    Failure,
    ServerEvent,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.errors import EngineFailed, ProtocolError
from lanscribe.session.state import MAX_UTTERANCES, Session
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import BLOCK_S, LevelDetector
from lanscribe.speech.turns import TurnSettings

END = Commit(is_final=True, needs_audio=True)
SILENCE_S, SPEECH_S = 20 * BLOCK_S, 12 * BLOCK_S
PADDING_S = 0.3
ENDS_AFTER_S = 16 * BLOCK_S
"""The first whole block at which half a second was silent."""
TURN_S = PADDING_S + SPEECH_S + ENDS_AFTER_S


def silence(seconds: float = SILENCE_S) -> AppendAudio:
    return AppendAudio(np.zeros(sample_count(seconds), dtype=np.float32))


def speech(seconds: float = SPEECH_S) -> AppendAudio:
    return AppendAudio(np.full(sample_count(seconds), 0.25, dtype=np.float32))


def make(*events: AppendAudio | Commit | DetectTurns) -> tuple[Session, list[ServerEvent]]:
    session = Session(sample_count(1000), LevelDetector())
    return session, receive(session, DetectTurns(TurnSettings()), *events)


def receive(
    session: Session, *events: AppendAudio | Commit | DetectTurns | Cancel
) -> list[ServerEvent]:
    return [told for event in events for told in session.receive(event, 0.0)]


def take_all(session: Session) -> Samples:
    blocks = [np.empty(0, dtype=np.float32)]
    while session.is_busy and session.has_audio:
        blocks.append(session.take_audio())
    return np.concatenate(blocks)


def kinds(events: Sequence[ServerEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_turn_is_an_utterance() -> None:
    session, told = make(silence(), speech(), silence())
    began_s = SILENCE_S - PADDING_S
    one = Utterance(1, offset_s=began_s)
    assert told == [
        SpeechStarted(one, began_s),
        SpeechStopped(one, began_s + TURN_S),
        Committed(one, 0),
    ]
    assert duration_s(len(take_all(session))) == pytest.approx(TURN_S)
    assert isinstance(session.completed()[0], Done)
    assert not session.is_busy
    assert receive(session, silence(1000 * BLOCK_S)) == []
    assert not session.is_busy
    second = receive(session, speech(), silence())
    assert second[-1] == Committed(
        Utterance(2, offset_s=began_s + SPEECH_S + SILENCE_S + 1000 * BLOCK_S), 1
    )


def test_speech_is_transcribed_while_it_lasts() -> None:
    session, told = make(silence(), speech())
    assert kinds(told) == ["SpeechStarted"]
    assert session.is_busy
    assert session.has_audio
    assert not session.is_ended


def test_the_client_may_end_a_turn() -> None:
    session, _ = make(silence(), speech())
    assert kinds(receive(session, END)) == ["SpeechStopped", "Committed"]
    assert session.is_ended
    assert duration_s(len(take_all(session))) == pytest.approx(PADDING_S + SPEECH_S)


def test_a_commit_of_silence_is_an_utterance_and_of_nothing_is_refused() -> None:
    session, _ = make(silence())
    assert kinds(receive(session, END)) == ["Committed"]
    with pytest.raises(ProtocolError) as caught:
        session.receive(END, 0.0)
    assert caught.value.code == "input_audio_buffer_commit_empty"
    assert duration_s(len(take_all(session))) == pytest.approx(PADDING_S + 3 * BLOCK_S)


def test_without_turns_a_commit_of_nothing_is_refused_when_audio_is_needed() -> None:
    session, _ = make(DetectTurns(None))
    with pytest.raises(ProtocolError, match="append"):
        session.receive(END, 0.0)
    assert kinds(receive(session, speech(), END)) == ["Committed"]


def test_a_cancelled_turn_is_forgotten_and_the_next_found() -> None:
    session, _ = make(silence(), speech())
    assert receive(session, Cancel()) == [Cancelled(Utterance(1, offset_s=SILENCE_S - PADDING_S))]
    assert session.completed() == []
    assert kinds(receive(session, silence(), speech(), silence())) == [
        "SpeechStarted",
        "SpeechStopped",
        "Committed",
    ]


def test_detection_begins_in_what_was_appended_before_it() -> None:
    session, _ = make(DetectTurns(None), silence(), speech(), silence())
    assert not session.is_busy
    told = receive(session, DetectTurns(TurnSettings()))
    assert kinds(told) == ["SpeechStarted", "SpeechStopped", "Committed"]
    assert duration_s(len(take_all(session))) == pytest.approx(TURN_S)


def test_detection_takes_over_an_utterance_that_was_started() -> None:
    session, _ = make(DetectTurns(None), Commit(is_final=False), speech())
    assert receive(session, DetectTurns(TurnSettings())) == []
    assert kinds(receive(session, silence())) == ["SpeechStopped", "Committed"]
    assert duration_s(len(take_all(session))) == pytest.approx(SPEECH_S + ENDS_AFTER_S)


def test_a_turn_goes_on_when_detection_ends() -> None:
    session, _ = make(silence(), speech())
    assert receive(session, DetectTurns(None), silence(5)) == []
    assert kinds(receive(session, END)) == ["Committed"]
    assert duration_s(len(take_all(session))) == pytest.approx(PADDING_S + SPEECH_S + 5)


def test_a_turn_survives_the_engine() -> None:
    session, _ = make(silence(), speech())
    session.take_audio()
    assert isinstance(session.failed(EngineFailed("broken"))[0], Failure)
    assert kinds(receive(session, speech(), silence())) == ["SpeechStopped", "Committed"]
    assert session.is_busy
    assert duration_s(len(take_all(session))) == pytest.approx(SPEECH_S + ENDS_AFTER_S)


def test_what_was_held_back_is_not_lost_when_detection_ends() -> None:
    session, _ = make(speech(0.05), silence(0.13), DetectTurns(None), END)
    assert duration_s(len(take_all(session))) == pytest.approx(0.18)


def test_no_turn_is_refused_and_too_many_stop_the_reading() -> None:
    """Long before their sound would: they are short."""
    session, told = make(*[one for _ in range(2 * MAX_UTTERANCES) for one in (speech(), silence())])
    assert kinds(told).count("Committed") == 2 * MAX_UTTERANCES
    assert not session.has_room
    for _ in range(2 * MAX_UTTERANCES):
        take_all(session)
        session.completed()
    assert session.has_room


def test_stop_ends_a_turn_with_all_its_sound() -> None:
    session, _ = make(silence(), speech(0.43))
    session.stop()
    assert session.is_ended
    assert duration_s(len(take_all(session))) == pytest.approx(PADDING_S + 0.43)
