"""Says whether a model that is not Voxtral is loaded in 4 bits as it is without lanscribe.

Runs in an environment of vLLM: python -m tests.vllm.real.untouched
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from vllm.model_executor import model_loader
from vllm_bnb_plugin.bitsandbytes_loader import BitsAndBytesModelLoader

from lanscribe.vllm.plugin.loader import LOAD_FORMAT, RoutingLoader
from tests.vllm.real.checkpoint import write_safetensors
from tests.vllm.real.voxtral import Shape
from tests.vllm.real.weights import FOUR_BITS, load

DIM, HIDDEN_DIM, VOCAB_SIZE = 128, 256, 512
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": DIM,
    "intermediate_size": HIDDEN_DIM,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB_SIZE,
    "max_position_embeddings": 256,
    "dtype": "bfloat16",
}


def main() -> None:
    """Print "the same" or "different"."""
    with tempfile.TemporaryDirectory() as folder:
        make_llama(Path(folder))
        ours = load(Path(folder), **FOUR_BITS, skip_tokenizer_init=True)
        assert model_loader._LOAD_FORMAT_TO_MODEL_LOADER[LOAD_FORMAT] is RoutingLoader
        stock = {LOAD_FORMAT: BitsAndBytesModelLoader}
        with mock.patch.dict(model_loader._LOAD_FORMAT_TO_MODEL_LOADER, stock):
            theirs = load(Path(folder), **FOUR_BITS, skip_tokenizer_init=True)
    sys.stdout.write("the same\n" if contents(ours) == contents(theirs) else "different\n")


def contents(model: nn.Module) -> list[tuple[str, bytes, bool]]:
    """Name, bytes and whether it has 4 bits, of each parameter."""
    return [
        (name, one.data.view(torch.uint8).numpy().tobytes(), hasattr(one, "bnb_quant_state"))
        for name, one in model.named_parameters()
    ]


def make_llama(folder: Path) -> None:
    """A tiny model of random numbers in transformers' format."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    generator = torch.Generator().manual_seed(0)
    tensors = (
        (name, torch.randn(shape, generator=generator).to(torch.bfloat16))
        for name, shape in llama_shapes()
    )
    write_safetensors(folder / "model.safetensors", llama_shapes(), tensors)


def llama_shapes() -> Iterator[Shape]:
    """Name and shape of every parameter."""
    layer = "model.layers.0"
    yield "model.embed_tokens.weight", (VOCAB_SIZE, DIM)
    yield "lm_head.weight", (VOCAB_SIZE, DIM)
    yield "model.norm.weight", (DIM,)
    yield f"{layer}.input_layernorm.weight", (DIM,)
    yield f"{layer}.post_attention_layernorm.weight", (DIM,)
    for part in "qkvo":
        yield f"{layer}.self_attn.{part}_proj.weight", (DIM, DIM)
    for part in ("gate", "up"):
        yield f"{layer}.mlp.{part}_proj.weight", (HIDDEN_DIM, DIM)
    yield f"{layer}.mlp.down_proj.weight", (DIM, HIDDEN_DIM)


if __name__ == "__main__":
    main()
