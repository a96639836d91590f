import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.speech.audio import (
    PIECE_S,
    clipped,
    duration_s,
    in_pieces,
    sample_count,
    samples_to_pcm16,
)
from lanscribe.speech.pcm import decoded


@given(st.binary(min_size=2, max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_pcm16_survives_the_way_there_and_back(data: bytes) -> None:
    assert samples_to_pcm16(decoded(data, "pcm_s16le")) == data


def test_loud_samples_are_clipped_not_wrapped() -> None:
    loud = np.array([1.5, -1.5], dtype=np.float32)
    assert np.frombuffer(samples_to_pcm16(loud), dtype="<i2").tolist() == [32767, -32768]


def test_clipped_samples_are_below_one() -> None:
    out = clipped(np.array([1.5, 1.0, 0.25, -1.0, -7.0], dtype=np.float32))
    assert out.dtype == np.float32
    assert 0.9999 < out[0] == out[1] < 1
    assert out[2:].tolist() == [0.25, -1.0, -1.0]


def test_seconds_and_samples_are_each_others_inverse() -> None:
    assert sample_count(0.08) == 1280
    assert duration_s(sample_count(12.34)) == pytest.approx(12.34)


@given(st.integers(0, 100_000))
def test_pieces_are_the_sound_in_order_and_none_but_the_last_is_short(count: int) -> None:
    sound = np.arange(count, dtype=np.float32)
    pieces = list(in_pieces(sound))
    assert np.array_equal(np.concatenate([*pieces, sound[:0]]), sound)
    assert all(duration_s(len(piece)) == PIECE_S for piece in pieces[:-1])
    assert all(0 < duration_s(len(piece)) <= PIECE_S for piece in pieces)
