"""Pauses that grow."""

from lanscribe.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.pause_s(number) for number in range(6)] == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_there_is_no_number_of_attempts_that_is_too_large() -> None:
    assert Backoff(first_s=0.5, longest_s=2.0).pause_s(10**9) == 2.0
