"""Where audio with parts left out is in the whole."""

from lanscribe.speech.timeline import Timeline


def test_a_time_is_placed_by_the_middle_of_its_word() -> None:
    timeline = Timeline()
    timeline.skip(10.0, 3600.0)
    timeline.skip(20.0, 5.0)
    assert timeline.placed(9.5, 10.1) == (9.5, 10.0)
    assert timeline.placed(9.9, 10.9) == (3610.0, 3610.9)
    assert timeline.placed(None, 21.0) == (None, 3626.0)
    assert timeline.placed(None, 15.0) == (None, 3615.0)
    assert (timeline.whole_s(9.0), timeline.whole_s(21.0)) == (9.0, 3626.0)


def test_a_time_is_later_by_all_that_was_left_out_before_it() -> None:
    timeline = Timeline()
    assert timeline.placed(1.0, 2.0) == (1.0, 2.0)
    timeline.skip(10.0, 3600.0)
    assert timeline.skipped_s == 3600.0
    assert timeline.whole_s(9.0) == 9.0
    assert timeline.whole_s(11.0) == 3611.0
