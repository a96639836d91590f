"""What is told beyond every protocol."""

from lanscribe.dialects.events import Delta, Done
from lanscribe.dialects.extras import MUTED, extras
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span


def test_there_is_no_field_without_something_to_say() -> None:
    assert extras(Delta("a", 1.0)) == {}
    assert extras(Done("a", 1.0, 1)) == {}


def test_lost_audio_is_told_by_the_protocols_own_names_and_clock() -> None:
    lost = Span(1.0, 2.5)
    assert extras(Delta("", 2.5, lost=lost)) == {"lost": [{"start": 1.0, "end": 2.5}]}
    told = extras(Done("", 9.0, 0, lost=(lost, Span(4.0, 5.0))), names=("t0", "t1"), offset_s=10.0)
    assert told == {"lost": [{"t0": 11.0, "t1": 12.5}, {"t0": 14.0, "t1": 15.0}]}


def test_a_muted_microphone_and_the_cause_of_no_text_are_told() -> None:
    assert extras(Delta("", 1.0, is_muted=True)) == {"notice": MUTED}
    assert extras(Done("", 1.0, 0, no_speech=NoSpeech("zeros"))) == {"no_speech": {"code": "zeros"}}
    quiet = extras(Done("", 1.0, 0, no_speech=NoSpeech("quiet", -60.5)))
    assert quiet == {"no_speech": {"code": "quiet", "level_dbfs": -60.5}}
