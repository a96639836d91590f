import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.session.pace import Pace, TokenBucket


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = TokenBucket(10, burst=5)
    assert [bucket.take(1, now_s=100) for _ in range(5)] == [0] * 5
    assert bucket.take(1, now_s=100) == pytest.approx(0.1)
    assert bucket.take(1, now_s=100.1) == pytest.approx(0.1)
    assert bucket.take(5, now_s=1000) == 0
    assert bucket.take(20, now_s=1000) == pytest.approx(2)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50)), min_size=1))
def test_who_waits_as_told_never_exceeds_the_rate(steps: list[tuple[float, int]]) -> None:
    bucket, now_s, total = TokenBucket(10, burst=20), 0.0, 0
    for pause_s, amount in steps:
        now_s += pause_s
        total += amount
        now_s += bucket.take(amount, now_s)
        assert total <= 20 + 10 * now_s + 1e-6


def test_a_pace_bounds_messages_and_bytes() -> None:
    pace = Pace(messages_per_s=10, bytes_per_s=1000, message_bytes=5000)
    assert pace.wait_s(5000, now_s=0.0) == 0.0
    assert pace.wait_s(500, now_s=0.0) == pytest.approx(0.5)
    many = Pace(messages_per_s=10, bytes_per_s=1000, message_bytes=5000)
    assert [many.wait_s(1, now_s=0.0) for _ in range(100)] == [0.0] * 100
    assert many.wait_s(1, now_s=0.0) == pytest.approx(0.1)
