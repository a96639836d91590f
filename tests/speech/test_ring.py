import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.speech.ring import SampleRing


@given(st.lists(st.one_of(st.integers(1, 40_000), st.just(0)), max_size=30))
def test_a_buffer_gives_back_what_it_got_in_order(steps: list[int]) -> None:
    """A positive step appends that many samples; 0 takes a block."""
    buffer, sent, taken = SampleRing(), 0, []
    for step in steps:
        if step:
            buffer.append(np.arange(sent, sent + step, dtype=np.float32))
            sent += step
        else:
            taken.append(buffer.take())
        assert len(buffer) == sent - sum(len(block) for block in taken)
    while len(buffer):
        taken.append(buffer.take())
    assert len(buffer.take()) == 0
    assert np.array_equal(np.concatenate([*taken, np.empty(0)]), np.arange(sent))


def test_many_small_appends_share_blocks() -> None:
    buffer = SampleRing()
    for _ in range(10_000):
        buffer.append(np.zeros(1, dtype=np.float32))
    assert len(buffer.take()) == 10_000


def test_a_ring_reads_by_absolute_index_until_it_forgets() -> None:
    ring = SampleRing()
    ring.append(np.arange(40_000, dtype=np.float32))
    ring.forget(20_000)
    assert ring.read(20_000)[0] == 20_000
    assert ring.read(39_999).tolist() == [39_999]
    assert len(ring.read(40_000)) == 0
    assert len(ring) == 20_000
    for index in (19_999, 40_001):
        with pytest.raises(IndexError):
            ring.read(index)
