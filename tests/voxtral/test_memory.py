"""The arithmetic of GPU memory against numbers that are known of the model and of vLLM."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.voxtral import memory
from lanscribe.voxtral.memory import BLOCK_BYTES, GIB, MIB, QUANTIZATIONS
from tests.vllm.real.voxtral import REAL, parameter_count

LONGEST = 131_072
KEY_BIAS = 32 * 2048
"""vLLM adds a bias of zeros to each key of the encoder."""


def test_all_parameters_of_the_checkpoint_are_counted() -> None:
    counted = memory.linear_parameters() + memory.other_parameters()
    assert counted == parameter_count(REAL) + KEY_BIAS
    assert counted == pytest.approx(4.43e9, rel=0.001)


@pytest.mark.parametrize(
    ("quantization", "size"), [("bf16", 8.86e9), ("fp8", 4.9e9), ("nf4", 3.1e9)]
)
def test_weights_have_their_known_sizes(quantization: memory.Quantization, size: float) -> None:
    assert memory.weight_bytes(quantization) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(("batch", "gib"), [(64, 1.4), (128, 1.5), (256, 1.8), (2048, 5.7)])
def test_the_batch_decides_what_one_request_reserves(batch: int, gib: float) -> None:
    reserved_bytes = memory.reserved_blocks(batch, LONGEST) * BLOCK_BYTES
    assert round(reserved_bytes / GIB, 1) == gib


@pytest.mark.parametrize(("length", "size"), [(16_384, 168e6), (45_000, 461e6), (LONGEST, 1.34e9)])
def test_the_length_decides_the_encoder_cache(length: int, size: float) -> None:
    assert memory.encoder_cache_bytes(192, length) == pytest.approx(size, rel=0.003)


def test_sessions_hold_what_is_known_of_them() -> None:
    assert memory.DECODER_KV_BYTES_PER_TOKEN == 106_496
    assert memory.ENCODER_KV_BYTES_PER_TOKEN == MIB
    assert memory.ENCODER_WINDOW_TOKENS == 189
    assert memory.session_blocks(5 * 750) * BLOCK_BYTES == 688 * MIB
    assert memory.session_blocks(LONGEST) * BLOCK_BYTES == 1248 * MIB


@given(st.integers(1, LONGEST), st.integers(1, LONGEST), st.integers(64, 2048))
def test_a_session_holds_no_more_than_vllm_reserves_for_one(
    tokens: int, more: int, batch: int
) -> None:
    length = min(tokens + more, LONGEST)
    assert memory.session_blocks(tokens) <= memory.session_blocks(length)
    assert memory.session_blocks(length) <= memory.reserved_blocks(batch, length)
    assert memory.reserved_blocks(batch, tokens) <= memory.reserved_blocks(batch, length)


@pytest.mark.parametrize(("batch", "length"), [(2048, 1000), (1000, 2048)])
def test_the_encoder_cache_is_as_large_as_the_larger_of_batch_and_length(
    batch: int, length: int
) -> None:
    assert memory.encoder_cache_bytes(batch, length) == 20 * MIB  # 10 KiB for each of 2048


def test_rotary_tables_cover_all_positions() -> None:
    assert memory.rotary_bytes() == 96 * MIB


@pytest.mark.parametrize("batch", [64, 192, 2048])
@pytest.mark.parametrize("sessions", [1, 4, 40])
def test_activations_grow_with_the_batch_and_with_sessions(batch: int, sessions: int) -> None:
    for quantization in QUANTIZATIONS:
        size = memory.activation_bytes(quantization, batch, sessions)
        longer = memory.activation_bytes(quantization, batch + 64, sessions)
        more = memory.activation_bytes(quantization, batch, sessions + 1)
        assert longer - size == 64 * 222 * 1024  # the widest layers of both towers
        assert more - size == 3 * MIB  # six float32 rows of 131072 logits
        assert size > memory.ALLOCATOR_BYTES


def test_only_nf4_unpacks_a_matrix() -> None:
    nf4, fp8, bf16 = (memory.activation_bytes(name, 192, 4) for name in QUANTIZATIONS)
    assert (nf4 - bf16, fp8 - bf16) == (54 * MIB, 0)


@pytest.mark.parametrize(
    ("sessions", "graphs"),
    [(1, 2), (2, 3), (3, 3), (4, 4), (7, 4), (8, 5), (12, 6), (16, 7), (256, 67), (10_000, 67)],
)
def test_graphs_are_captured_up_to_twice_the_sessions(sessions: int, graphs: int) -> None:
    """1, 2, 4, then every 8th up to 512."""
    assert memory.cuda_graphs(sessions) == graphs
