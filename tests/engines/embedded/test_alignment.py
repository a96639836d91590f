"""Where tokens are, out of attention that is made for it."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.engines.embedded.alignment import FRAME_S, Alignment, boundaries

Floats = npt.NDArray[np.float32]


def looking(lengths: list[int], blur: float = 0.0) -> Floats:
    """Attention of tokens that look evenly at stretches of such lengths, and a little around."""
    frames = sum(lengths)
    rows = np.full((len(lengths), frames), blur / frames, dtype=np.float32)
    start = 0
    for row, length in zip(rows, lengths, strict=True):
        row[start : start + length] += (1 - blur) / max(length, 1)
        start += length
    return rows


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.floats(0, 0.5))
def test_tokens_are_where_they_were_looked_at(lengths: list[int], blur: float) -> None:
    assert np.diff(boundaries(looking(lengths, blur))).tolist() == lengths


@given(st.integers(0, 20), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_any_attention_is_cut_in_order_and_without_a_rest(
    tokens: int, frames: int, seed: int
) -> None:
    attention = np.random.default_rng(seed).random((tokens, frames), dtype=np.float32)
    bounds = boundaries(attention)
    assert (np.diff(bounds) >= 0).all()
    assert bounds[-1] == frames
    alignment = Alignment(attention)
    for token in range(tokens):
        start_s, end_s = alignment.span_s(token, token + 1)
        assert bounds[token] * FRAME_S <= start_s <= end_s == bounds[token + 1] * FRAME_S


def test_no_cut_is_better() -> None:
    """The same answer as from trying all ways to cut."""
    random = np.random.default_rng(5)
    for _ in range(50):
        attention = random.dirichlet(np.full(6, 0.3), size=3).astype(np.float32)
        logs = np.log(attention.astype(np.float64) + 0.01)
        ways = [(one, two) for one in range(7) for two in range(one, 7)]
        sums = [
            logs[0, :one].sum() + logs[1, one:two].sum() + logs[2, two:].sum() for one, two in ways
        ]
        found = boundaries(attention)
        at_found = sums[ways.index((int(found[1]), int(found[2])))]
        assert at_found == pytest.approx(max(sums))
        assert found[0] == 0


def test_a_pause_before_a_word_is_not_in_it() -> None:
    attention = looking([10, 20, 10])
    attention[1] = 0
    attention[1, 25:30] = 0.2
    start_s, end_s = Alignment(attention).span_s(1, 2)
    assert start_s == pytest.approx(25 * FRAME_S)
    assert end_s == pytest.approx(30 * FRAME_S)


def test_a_stray_look_into_the_pause_before_a_word_does_not_begin_it() -> None:
    attention = looking([10, 20, 10, 10])
    attention[1] = 0
    attention[1, 12] = 0.03  # of the 2 that the two tokens of the word have
    attention[1, 25:30] = 0.97 / 5
    start_s, _ = Alignment(attention).span_s(1, 3)
    assert start_s == pytest.approx(25 * FRAME_S)


def test_a_word_of_several_tokens_is_all_of_them() -> None:
    alignment = Alignment(looking([5, 4, 3, 8]))
    assert alignment.span_s(1, 3) == pytest.approx((5 * FRAME_S, 12 * FRAME_S))
