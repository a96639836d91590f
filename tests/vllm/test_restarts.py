from lanscribe.vllm.restarts import RestartSchedule


def test_waits_double_up_to_the_longest() -> None:
    schedule = RestartSchedule(most_failures=9, first_wait_s=1, longest_wait_s=10)
    assert [schedule.failed(float(now)) for now in range(6)] == [1, 2, 4, 8, 10, 10]


def test_too_many_failures_in_a_short_time_are_the_end() -> None:
    schedule = RestartSchedule(most_failures=3, within_s=100)
    assert schedule.failed(0) is not None
    assert schedule.failed(50) is not None
    assert schedule.failed(100) is None


def test_failures_long_ago_are_forgotten() -> None:
    schedule = RestartSchedule(most_failures=3, within_s=100, first_wait_s=1)
    assert [schedule.failed(now) for now in (0.0, 10.0, 111.0, 300.0)] == [1, 2, 1, 1]


def test_who_has_served_for_a_while_is_started_again_however_often_it_failed() -> None:
    schedule = RestartSchedule(most_failures=3, within_s=1000, first_wait_s=1, sound_after_s=60)
    assert [schedule.failed(now, served_s=60.0) for now in (0.0, 100.0, 200.0, 300.0)] == [1] * 4
    assert [schedule.failed(now, served_s=59.0) for now in (400.0, 500.0)] == [2, None]
