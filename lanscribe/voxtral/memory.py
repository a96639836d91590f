"""How much GPU memory Voxtral-Mini-4B-Realtime takes in vLLM: the arithmetic, pure.

The shapes are those of the model's params.json. The rules by which vLLM divides memory come from
the source of 0.32.0, and tests/vllm/real/test_plan_against_vllm.py compares the numbers with those
of vLLM's own functions. Values that cannot be computed are marked as estimates; nothing was
measured on a GPU yet.
"""

from dataclasses import dataclass
from typing import Literal

Quantization = Literal["nf4", "fp8", "bf16"]
QUANTIZATIONS: tuple[Quantization, ...] = ("nf4", "fp8", "bf16")

MIB = 2**20
GIB = 2**30
BF16_BYTES = 2
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tower:
    """One of the two transformers."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_dim: int

    @property
    def linear_parameters(self) -> int:
        """Parameters of the attention and feed-forward matrices, which quantization shrinks."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.dim * (query + 2 * key) + query * self.dim
        return self.layers * (attention + 3 * self.dim * self.hidden_dim)

    @property
    def kv_bytes_per_state(self) -> int:
        """Key and value of one position in one layer."""
        return 2 * self.kv_heads * self.head_dim * BF16_BYTES


DECODER = Tower(dim=3072, layers=26, heads=32, kv_heads=8, head_dim=128, hidden_dim=9216)
ENCODER = Tower(dim=1280, layers=32, heads=32, kv_heads=32, head_dim=64, hidden_dim=5120)
VOCABULARY = 131_072
MEL_BINS = 128
TIME_DIM = 32
"""Inner width of the decoder's ada_rms_norm_t_cond layers."""
FRAMES_PER_TOKEN = 4
"""Encoder frames per decoder token: downsample_factor."""

LARGEST_MATRIX_PARAMETERS = DECODER.dim * DECODER.hidden_dim
"""The decoder's gate, up or down matrix; bitsandbytes unpacks one matrix at a time."""


def linear_parameters() -> int:
    """All parameters that quantization packs."""
    return DECODER.linear_parameters + ENCODER.linear_parameters


def other_parameters() -> int:
    """Those that stay bf16: embeddings (and output layer), adapter, convolutions, norms, biases."""
    decoder_layer = 2 * DECODER.dim + 2 * DECODER.dim * TIME_DIM
    decoder = VOCABULARY * DECODER.dim + DECODER.layers * decoder_layer + DECODER.dim
    inner = ENCODER.heads * ENCODER.head_dim
    # biases of query, value, output and down, and of key, which vLLM adds; two norms
    encoder_layer = 3 * inner + 2 * ENCODER.dim + 2 * ENCODER.dim
    convolutions = 3 * ENCODER.dim * (MEL_BINS + ENCODER.dim) + 2 * ENCODER.dim
    encoder = ENCODER.layers * encoder_layer + ENCODER.dim + convolutions
    adapter = FRAMES_PER_TOKEN * ENCODER.dim * DECODER.dim + DECODER.dim * DECODER.dim
    return decoder + encoder + adapter


LINEAR_BITS: dict[Quantization, float] = {
    "nf4": 4.5,  # 4 bits, and a float32 scale for each block of 64 (bitsandbytes' default)
    "fp8": 8.0,  # one scale for a whole matrix: negligible
    "bf16": 16.0,
}


def weight_bytes(quantization: Quantization) -> int:
    """The size of the weights in GPU memory."""
    packed = int(linear_parameters() * LINEAR_BITS[quantization] / 8)
    return packed + other_parameters() * BF16_BYTES


ROTARY_POSITIONS = 131_072
"""max_position_embeddings; the tables cover all positions, whatever max-model-len is."""


def rotary_bytes() -> int:
    """Cosines and sines of both towers, bf16; the encoder has four positions per token."""
    positions = DECODER.head_dim + FRAMES_PER_TOKEN * ENCODER.head_dim
    return ROTARY_POSITIONS * positions * BF16_BYTES


# The KV cache. Both towers attend within a window, and vLLM gives every layer pages of the same
# size: 16 tokens of an encoder layer are 8 times 16 tokens of a decoder layer, so decoder blocks
# have 128 tokens (unify_kv_cache_spec_page_size). All layers of a tower share a block, and the
# decoder's 26 layers are padded to the encoder's 32 (_get_kv_cache_groups_uniform_page_size).

ENCODER_BLOCK_TOKENS = 16
"""vLLM's default block size on CUDA."""
PAGE_BYTES = ENCODER_BLOCK_TOKENS * FRAMES_PER_TOKEN * ENCODER.kv_bytes_per_state
DECODER_BLOCK_TOKENS = PAGE_BYTES // DECODER.kv_bytes_per_state
BLOCK_BYTES = max(DECODER.layers, ENCODER.layers) * PAGE_BYTES
DECODER_WINDOW_TOKENS = 8192
ENCODER_WINDOW_TOKENS = -(-750 // FRAMES_PER_TOKEN) + 1
"""The window of 750 frames in decoder tokens, plus one, as vLLM counts it (whisper_causal.py)."""
DECODER_KV_BYTES_PER_TOKEN = DECODER.layers * DECODER.kv_bytes_per_state
"""Without the padding."""
ENCODER_KV_BYTES_PER_TOKEN = ENCODER.layers * FRAMES_PER_TOKEN * ENCODER.kv_bytes_per_state
BATCHES_IN_FLIGHT = 2
"""With asynchronous scheduling, the default: VllmConfig.max_concurrent_batches."""


def reserved_blocks(max_num_batched_tokens: int, max_model_len: int) -> int:
    """The blocks that vLLM needs for one request, or it does not start.

    SlidingWindowSpec.max_admission_blocks_per_request: the window and all tokens in flight, at
    most max_model_len, plus one block because a window may begin inside a block.
    """
    in_flight = BATCHES_IN_FLIGHT * max_num_batched_tokens
    return sum(
        -(-min(window - 1 + in_flight, max_model_len) // block) + 1
        for window, block in (
            (DECODER_WINDOW_TOKENS, DECODER_BLOCK_TOKENS),
            (ENCODER_WINDOW_TOKENS, ENCODER_BLOCK_TOKENS),
        )
    )


def session_blocks(tokens: int) -> int:
    """The blocks that a session of `tokens` tokens holds."""
    return sum(
        min(-(-tokens // block), -(-window // block) + 1)
        for window, block in (
            (DECODER_WINDOW_TOKENS, DECODER_BLOCK_TOKENS),
            (ENCODER_WINDOW_TOKENS, ENCODER_BLOCK_TOKENS),
        )
    )


def encoder_cache_bytes(max_num_batched_tokens: int, max_model_len: int) -> int:
    """The largest size of the audio embeddings of past steps; vLLM frees them only for newer ones.

    compute_mm_encoder_budget; an embedding has the four frames of a token. The profile run does
    not count them, because it processes one chunk, so they add to gpu-memory-utilization.
    """
    embeddings = max(max_num_batched_tokens, max_model_len)
    return embeddings * FRAMES_PER_TOKEN * ENCODER.dim * BF16_BYTES


ALLOCATOR_BYTES = 128 * MIB
"""Estimated: the allocation of torch beyond the tensors."""
LOGITS_COPIES = 6
"""Estimated: float32 tensors of [sessions, vocabulary] in the sampler's profile run."""


def activation_bytes(
    quantization: Quantization, max_num_batched_tokens: int, max_num_seqs: int
) -> int:
    """The peak of the profile run over a full batch: the widest layer, then the sampler."""
    decoder = 3 * DECODER.dim + 3 * DECODER.hidden_dim
    encoder = FRAMES_PER_TOKEN * (3 * ENCODER.dim + 3 * ENCODER.hidden_dim)
    layers = max_num_batched_tokens * (decoder + encoder) * BF16_BYTES
    logits = max_num_seqs * VOCABULARY * FLOAT32_BYTES * LOGITS_COPIES
    unpacked = LARGEST_MATRIX_PARAMETERS * BF16_BYTES if quantization == "nf4" else 0
    return layers + logits + unpacked + ALLOCATOR_BYTES


CONTEXT_BYTES = 400 * MIB
"""Estimated: the memory that a CUDA process takes first, 300 to 400 MB with kernels loaded on
demand (pytorch/pytorch issues 107667, 109888). vLLM holds it before it checks how much is free
(Worker.init_device), so it lies outside gpu-memory-utilization."""
LIBRARIES_BYTES = 400 * MIB
"""Estimated: cuBLAS and kernels loaded later. vLLM's logs on other cards show 0.04 to 0.39 GiB of
"non_torch_memory" (vllm-project/vllm issues 12529, 14452, 11251)."""
BYTES_PER_GRAPH = 64 * MIB
"""Estimated. A model of 1 B parameters took 0.13 GiB for all its graphs (a log in
generative-computing/mellea 416)."""


def cuda_graphs(max_num_seqs: int) -> int:
    """How many batch sizes vLLM captures: 1, 2, 4, then every 8th up to twice max_num_seqs.

    VllmConfig._set_cudagraph_sizes.
    """
    largest = min(2 * max_num_seqs, 512)
    return sum(size <= largest for size in (1, 2, 4, *range(8, 513, 8)))
