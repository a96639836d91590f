"""What vLLM holds after loading a checkpoint, parameter by parameter, for the tests of the loader.

Runs in an environment of vLLM. `compare` loads checkpoint A in 4 bits through lanscribe's loader,
and B as it is through vLLM's own, and prints how far each parameter of A, dequantized, is from
B's; with a mutation of tests.vllm.real.mutations if one is named:

    python -m tests.vllm.real.weights compare A B [MUTATION]
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from bitsandbytes.functional import dequantize_4bit
from torch import Tensor, nn
from vllm.config import set_current_vllm_config
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import base_loader, get_model_loader

from tests.vllm.real import mutations

MISTRAL: dict[str, Any] = {"tokenizer_mode": "mistral", "config_format": "mistral"}
FOUR_BITS: dict[str, Any] = {"quantization": "bitsandbytes", "load_format": "bitsandbytes"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One parameter of two models."""

    is_quantized: bool
    largest: float
    """The largest absolute difference of two numbers; 0 means the same."""


def main() -> None:
    """Print the comparison as JSON, after whatever vLLM prints."""
    parser = argparse.ArgumentParser(prog="tests.vllm.real.weights", description=__doc__)
    parser.add_argument("task", choices=["compare"])
    parser.add_argument("quantized", type=Path)
    parser.add_argument("plain", type=Path)
    parser.add_argument("mutation", nargs="*", choices=mutations.MUTATIONS)
    options = parser.parse_args()
    plain = load(options.plain, **MISTRAL, load_format="mistral")
    reports = {"none": compare(load(options.quantized, **MISTRAL, **FOUR_BITS), plain)}
    for mutation in options.mutation:
        with mutations.applied(mutation):
            reports[mutation] = compare(load(options.quantized, **MISTRAL, **FOUR_BITS), plain)
    sys.stdout.write(json.dumps(reports))


def load(checkpoint: Path, *, packed: bool = False, **options: Any) -> nn.Module:
    """The model as its loader leaves it, or packed for the processor's kernels after that."""
    config = EngineArgs(model=str(checkpoint), enforce_eager=True, **options).create_engine_config()
    with ExitStack() as stack:
        stack.enter_context(set_current_vllm_config(config))
        if not packed:
            stack.enter_context(mock.patch.object(base_loader, "process_weights_after_loading"))
        if not torch.accelerator.is_available():
            stack.enter_context(mock.patch("torch.accelerator.empty_cache"))
        start_distribution()
        loader = get_model_loader(config.load_config)
        model: nn.Module = loader.load_model(vllm_config=config, model_config=config.model_config)
    return model


def start_distribution() -> None:
    """vLLM's layers ask for their rank, even where there is one process."""
    if torch.distributed.is_initialized():
        return
    meeting = tempfile.mkdtemp()
    init_distributed_environment(
        world_size=1,
        rank=0,
        local_rank=0,
        distributed_init_method=f"file://{meeting}/meeting",
        backend="gloo",
    )
    ensure_model_parallel_initialized(1, 1)


def compare(quantized: nn.Module, plain: nn.Module) -> dict[str, dict[str, Any]]:
    """Each parameter of `plain` beside its namesake; a KeyError when there is none."""
    others = dict(quantized.named_parameters())
    report = {}
    for name, parameter in plain.named_parameters():
        other = others.pop(name)
        largest = (dequantized(other).float() - parameter.float()).abs().max().item()
        report[name] = asdict(Difference(hasattr(other, "bnb_quant_state"), largest))
    assert not others, f"parameters of one model only: {sorted(others)}"
    return report


def dequantized(parameter: Tensor) -> Tensor:
    """[out, in] of a layer, whose packed form is that of its fused parts one after the other."""
    if not hasattr(parameter, "bnb_quant_state"):
        return parameter.data
    offsets = parameter.bnb_shard_offsets.tolist()
    parts = [
        dequantize_4bit(parameter.data[offsets[number] : offsets[number + 1]], state)
        for number, state in sorted(parameter.bnb_quant_state.items())
    ]
    return torch.cat(parts)


if __name__ == "__main__":
    main()
