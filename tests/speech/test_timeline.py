"""Where audio with parts left out is in the whole."""

from lanscribe.speech.spans import Span
from lanscribe.speech.timeline import Timeline
from lanscribe.speech.transcript import Token


def test_a_time_is_placed_by_the_middle_of_its_word() -> None:
    timeline = Timeline()
    timeline.skip(10.0, 3600.0)
    timeline.skip(20.0, 5.0)
    assert timeline.placed(Token("a", 10.1, start_s=9.5)) == Token("a", 10.0, start_s=9.5)
    assert timeline.placed(Token("a", 10.9, start_s=9.9)) == Token("a", 3610.9, start_s=3610.0)
    assert timeline.placed(Token("a", 21.0)) == Token("a", 3626.0)
    assert timeline.placed(Token("", 15.0)) == Token("", 3615.0)
    lost = timeline.placed(Token("", 21.0, start_s=9.0, is_lost=True))
    assert Span(lost.start_s or 0, lost.end_s) == Span(9.0, 3626.0)


def test_a_time_is_later_by_all_that_was_left_out_before_it() -> None:
    timeline = Timeline()
    assert timeline.placed(Token("a", 2.0, start_s=1.0)) == Token("a", 2.0, start_s=1.0)
    timeline.skip(10.0, 3600.0)
    assert timeline.skipped_s == 3600.0
    assert timeline.whole_s(9.0) == 9.0
    assert timeline.whole_s(11.0) == 3611.0
