"""How much GPU memory Voxtral-Mini-4B-Realtime takes in vLLM: the arithmetic, pure.

The shapes are those of the model's params.json. How vLLM divides memory was read in the source of
0.32.0, and tests/vllm/real/test_plan_against_vllm.py asks vLLM's own functions for the same
numbers. What cannot be computed is an estimate and says so; none of it was measured on a GPU yet.
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
        """Of the attention and feed-forward matrices: what quantization makes smaller."""
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
"""Encoder frames in one decoder token: downsample_factor."""

LARGEST_MATRIX_PARAMETERS = DECODER.dim * DECODER.hidden_dim
"""Gate, up or down of the decoder; bitsandbytes unpacks one matrix at a time."""


def linear_parameters() -> int:
    """All parameters that a quantization packs."""
    return DECODER.linear_parameters + ENCODER.linear_parameters


def other_parameters() -> int:
    """What stays bf16: embeddings (the output layer too), adapter, convolutions, norms, biases."""
    decoder_layer = 2 * DECODER.dim + 2 * DECODER.dim * TIME_DIM
    decoder = VOCABULARY * DECODER.dim + DECODER.layers * decoder_layer + DECODER.dim
    inner = ENCODER.heads * ENCODER.head_dim
    # biases of query, value, output and down, and the one of key that vLLM adds; two norms
    encoder_layer = 3 * inner + 2 * ENCODER.dim + 2 * ENCODER.dim
    convolutions = 3 * ENCODER.dim * (MEL_BINS + ENCODER.dim) + 2 * ENCODER.dim
    encoder = ENCODER.layers * encoder_layer + ENCODER.dim + convolutions
    adapter = FRAMES_PER_TOKEN * ENCODER.dim * DECODER.dim + DECODER.dim * DECODER.dim
    return decoder + encoder + adapter


LINEAR_BITS: dict[Quantization, float] = {
    "nf4": 4.5,  # 4 bits, and a float32 scale for each block of 64 (bitsandbytes' default)
    "fp8": 8.0,  # one scale for a whole matrix: nothing
    "bf16": 16.0,
}


def weight_bytes(quantization: Quantization) -> int:
    """The weights as they lie in GPU memory."""
    packed = int(linear_parameters() * LINEAR_BITS[quantization] / 8)
    return packed + other_parameters() * BF16_BYTES


ROTARY_POSITIONS = 131_072
"""max_position_embeddings; the tables are made for all of them, whatever max-model-len is."""


def rotary_bytes() -> int:
    """Cosines and sines of both towers, bf16; the encoder has four positions in a token."""
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
"""Of 750 frames; vLLM counts it in decoder tokens, and one more (whisper_causal.py)."""
DECODER_KV_BYTES_PER_TOKEN = DECODER.layers * DECODER.kv_bytes_per_state
"""Without the padding."""
ENCODER_KV_BYTES_PER_TOKEN = ENCODER.layers * FRAMES_PER_TOKEN * ENCODER.kv_bytes_per_state
BATCHES_IN_FLIGHT = 2
"""With asynchronous scheduling, the default: VllmConfig.max_concurrent_batches."""


def reserved_blocks(max_num_batched_tokens: int, max_model_len: int) -> int:
    """Blocks that must be there for one request, or vLLM does not start.

    SlidingWindowSpec.max_admission_blocks_per_request: the window and all tokens in flight, at
    most max_model_len, and one block more because a window may begin inside a block.
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
    """Blocks that a session holds when it is `tokens` long."""
    return sum(
        min(-(-tokens // block), -(-window // block) + 1)
        for window, block in (
            (DECODER_WINDOW_TOKENS, DECODER_BLOCK_TOKENS),
            (ENCODER_WINDOW_TOKENS, ENCODER_BLOCK_TOKENS),
        )
    )


def encoder_cache_bytes(max_num_batched_tokens: int, max_model_len: int) -> int:
    """What the audio embeddings of past steps grow to; vLLM frees them only for newer ones.

    compute_mm_encoder_budget; an embedding is the four frames of a token. Not part of the profile
    run, which hears one chunk, so it comes on top of gpu-memory-utilization.
    """
    embeddings = max(max_num_batched_tokens, max_model_len)
    return embeddings * FRAMES_PER_TOKEN * ENCODER.dim * BF16_BYTES


ALLOCATOR_BYTES = 128 * MIB
"""Estimated: what torch's allocator holds beyond the tensors."""
LOGITS_COPIES = 6
"""Estimated: float32 tensors of [sessions, vocabulary] in the sampler's profile run."""


def activation_bytes(
    quantization: Quantization, max_num_batched_tokens: int, max_num_seqs: int
) -> int:
    """The peak of the profile run over a whole batch: the widest layer, then the sampler."""
    decoder = 3 * DECODER.dim + 3 * DECODER.hidden_dim
    encoder = FRAMES_PER_TOKEN * (3 * ENCODER.dim + 3 * ENCODER.hidden_dim)
    layers = max_num_batched_tokens * (decoder + encoder) * BF16_BYTES
    logits = max_num_seqs * VOCABULARY * FLOAT32_BYTES * LOGITS_COPIES
    unpacked = LARGEST_MATRIX_PARAMETERS * BF16_BYTES if quantization == "nf4" else 0
    return layers + logits + unpacked + ALLOCATOR_BYTES


CONTEXT_BYTES = 400 * MIB
"""Estimated: what a process that uses CUDA takes before anything else, 300 to 400 MB with kernels
loaded when they are needed (pytorch/pytorch issues 107667, 109888). vLLM has it already when it
looks how much is free (Worker.init_device), so it lies outside gpu-memory-utilization."""
LIBRARIES_BYTES = 400 * MIB
"""Estimated: cuBLAS and the kernels of later. vLLM's logs on other cards say 0.04 to 0.39 GiB
"non_torch_memory" (vllm-project/vllm issues 12529, 14452, 11251)."""
BYTES_PER_GRAPH = 64 * MIB
"""Estimated. A model of 1 B parameters took 0.13 GiB for all its graphs (a log in
generative-computing/mellea 416)."""


def cuda_graphs(max_num_seqs: int) -> int:
    """How many batch sizes vLLM captures: 1, 2, 4, then each 8th up to twice max_num_seqs.

    VllmConfig._set_cudagraph_sizes.
    """
    largest = min(2 * max_num_seqs, 512)
    return sum(size <= largest for size in (1, 2, 4, *range(8, 513, 8)))
