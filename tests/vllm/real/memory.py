"""What vLLM itself says of memory, for Voxtral in its real size. Prints JSON.

Runs in an environment of vLLM:

    python -m tests.vllm.real.memory weights bf16|nf4|fp8
    python -m tests.vllm.real.memory cache BATCH:LENGTH...
    python -m tests.vllm.real.memory flags FILE...

The model is made on the meta device, which has shapes and no numbers. Where the CPU differs from
a GPU in what is asked here, the GPU's default is set: blocks of 16 tokens, batches that overlap.
"""

import json
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from vllm.config import VllmConfig, get_layers_from_vllm_config, set_current_vllm_config
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.encoder_budget import MultiModalBudget
from vllm.sampling_params import SamplingParams
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.core import kv_cache_utils
from vllm.v1.core.kv_cache_manager import KVCacheManager
from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheSpec
from vllm.v1.kv_cache_layout import KVCacheLayout
from vllm.v1.request import Request

from tests.vllm.real.checkpoint import make_tekken
from tests.vllm.real.voxtral import REAL, params, transformers_config

LOADING: dict[str, dict[str, Any]] = {
    "bf16": {"load_format": "mistral"},
    "nf4": {"load_format": "bitsandbytes", "quantization": "bitsandbytes"},
    "fp8": {"load_format": "mistral", "quantization": "fp8_per_tensor"},
}
CUDA_BLOCK_TOKENS = 16
PROMPT_TOKENS = 39
ROOM_BYTES = 64 * 2**30
STEADY_TOKENS = 10_000
"""More than the larger window: from there on a session holds as much as before."""


def write_model(folder: Path) -> None:
    """What vLLM reads of the model in its real size, other than weights."""
    (folder / "tekken.json").write_text(json.dumps(make_tekken(REAL)))
    (folder / "params.json").write_text(json.dumps(params(REAL)))
    (folder / "config.json").write_text(json.dumps(transformers_config(REAL)))


def make_config(
    folder: Path, quantization: str = "bf16", *, batch: int = 192, length: int = 3840
) -> VllmConfig:
    """vLLM's settings for the model in its real size; the folder is that of `write_model`."""
    config = AsyncEngineArgs(
        model=str(folder),
        tokenizer_mode="mistral",
        config_format="mistral",
        dtype="bfloat16",
        max_model_len=length,
        max_num_batched_tokens=batch,
        max_num_seqs=4,
        enable_prefix_caching=False,
        enforce_eager=True,
        **LOADING[quantization],
    ).create_engine_config()
    config.scheduler_config.async_scheduling = True
    return config


def make_model(config: VllmConfig) -> torch.nn.Module:
    """The model, without its numbers."""
    rendezvous = tempfile.mkdtemp()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{rendezvous}/store", 0, "gloo")
        ensure_model_parallel_initialized(1, 1)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"):
            return initialize_model(config)


def weights(folder: Path, quantization: str) -> dict[str, int]:
    """Sizes of the parameters and of what else lies in memory with them."""
    write_model(folder)
    model = make_model(make_config(folder, quantization))
    sizes = [(one.numel(), one.element_size(), one.dtype) for one in model.parameters()]
    online = sum(
        module.weight.numel()
        for module in model.modules()
        if "Online" in type(getattr(module, "quant_method", None)).__name__
    )
    return {
        "parameters": sum(numel for numel, _, _ in sizes),
        "bytes": sum(numel * size for numel, size, _ in sizes),
        "packed_bytes": sum(numel for numel, _, dtype in sizes if dtype == torch.uint8),
        "quantized_when_loaded": online,
        "buffer_bytes": sum(one.numel() * one.element_size() for one in model.buffers()),
    }


def cache(folder: Path, *sizes: str) -> list[dict[str, int]]:
    """For each BATCH:LENGTH what vLLM reserves and what a session comes to hold."""
    write_model(folder)
    first = make_config(folder)
    make_model(first)
    layers = get_layers_from_vllm_config(first, AttentionLayerBase)
    specs = {
        name: replace(layer.get_kv_cache_spec(first), block_size=CUDA_BLOCK_TOKENS)
        for name, layer in layers.items()
    }
    answers = []
    for size in sizes:
        batch, length = map(int, size.split(":"))
        config = make_config(folder, batch=batch, length=length)
        config.cache_config.kv_cache_layout = KVCacheLayout.LBNHC.name  # the default on CUDA
        answers.append(_cache_of(config, specs))
    return answers


def _cache_of(config: VllmConfig, specs: dict[str, KVCacheSpec]) -> dict[str, int]:
    groups = kv_cache_utils.get_kv_cache_groups(config, dict(specs))
    block_bytes = kv_cache_utils._pool_bytes_per_block(config, groups)
    reserved_bytes = kv_cache_utils._max_memory_usage_bytes_from_groups(config, groups)
    (room,) = kv_cache_utils.get_kv_cache_configs(config, [specs], [ROOM_BYTES])
    audio = config.model_config.hf_config.audio_config
    budget = MultiModalBudget(config, MULTIMODAL_REGISTRY, enable_cache=False)
    row_bytes = audio.d_model * audio.block_pool_size * torch.bfloat16.itemsize
    return {
        "block_bytes": block_bytes,
        "reserved_bytes": reserved_bytes,
        "least_bytes": _least_bytes(config, specs, block_bytes),
        "session_bytes": block_bytes * _most_blocks_of_a_session(config, room),
        "encoder_cache_bytes": budget.encoder_cache_size * row_bytes,
    }


def _least_bytes(config: VllmConfig, specs: dict[str, KVCacheSpec], block_bytes: int) -> int:
    """The smallest KV cache with which vLLM starts; it starts with any larger one."""
    sizes = range(block_bytes, ROOM_BYTES, block_bytes)
    return sizes[bisect_left(sizes, True, key=lambda size: _starts(config, specs, size))]


def _starts(config: VllmConfig, specs: dict[str, KVCacheSpec], available_bytes: int) -> bool:
    try:
        kv_cache_utils.get_kv_cache_configs(config, [specs], [available_bytes])
    except ValueError as error:
        assert "KV" in str(error) or "cache blocks" in str(error)
        return False
    return True


def _most_blocks_of_a_session(config: VllmConfig, room: KVCacheConfig) -> int:
    """Let vLLM's own manager give blocks to a session, token by token to the end."""
    length = config.model_config.max_model_len
    scheduler_block, hash_block = kv_cache_utils.resolve_kv_cache_block_sizes(room, config)
    manager = KVCacheManager(
        room,
        max_model_len=length,
        scheduler_block_size=scheduler_block,
        hash_block_size=hash_block,
        max_in_flight_tokens=config.max_in_flight_tokens,
        enable_caching=False,
    )
    request = Request("session", [0] * PROMPT_TOKENS, SamplingParams(), None)
    free = manager.block_pool.get_num_free_blocks()
    most, tokens = 0, PROMPT_TOKENS
    while request.num_computed_tokens < min(length, STEADY_TOKENS):
        assert manager.allocate_slots(request, tokens) is not None
        request.num_computed_tokens += tokens
        request.append_output_token_ids(0)
        tokens = 1
        most = max(most, free - manager.block_pool.get_num_free_blocks())
    return most


def flags(folder: Path, *files: str) -> dict[str, dict[str, Any]]:
    """Each file as vLLM's own parser understands it; exits with 2 at an option it does not know."""
    parser = make_arg_parser(FlexibleArgumentParser())
    answers = {}
    for name in files:
        parsed = parser.parse_args(["--model", str(folder), "--config", name])
        validate_parsed_serve_args(parsed)
        values = {key: getattr(parsed, key.replace("-", "_")) for key in _keys(Path(name))}
        mode = values["compilation-config"].cudagraph_mode
        # as serve.sh starts it: the card's share behind the profile, the owner's behind that
        shares = ["--gpu-memory-utilization", "0.11", "--gpu-memory-utilization", "0.12"]
        parsed = parser.parse_args(["--config", name, "--model", str(folder), *shares])
        assert parsed.gpu_memory_utilization == 0.12
        answers[name] = values | {"compilation-config": {"cudagraph_mode": mode.name}}
    return answers


def _keys(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.partition(":")[0] for line in lines if line and line[0] not in " #"]


QUESTIONS: dict[str, Callable[..., Any]] = {"weights": weights, "cache": cache, "flags": flags}


def main(question: str, *arguments: str) -> None:
    """Answer one question."""
    with tempfile.TemporaryDirectory() as folder:
        answer = QUESTIONS[question](Path(folder), *arguments)
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
