"""Loads the published checkpoint of Voxtral Realtime and quantizes it to NF4 while loading.

vllm-bnb-plugin 0.0.3 cannot do this alone. It looks for vLLM's names in a checkpoint that has
Mistral's. It would quantize wq and wk before vLLM reorders their rows, and vLLM would then size
the key bias by the packed weight. It would also read the checkpoint's second copy
(model.safetensors). So this module renames, reorders and completes the weights, before that
plugin's loader quantizes them.
"""

from collections.abc import Iterator
from typing import Any

import torch
import vllm_bnb_plugin
from safetensors import safe_open
from torch import Tensor
from vllm.model_executor.model_loader import register_model_loader
from vllm_bnb_plugin.bitsandbytes_loader import BitsAndBytesModelLoader

from lanscribe.vllm.plugin.names import ARCHITECTURE, LinearWeight, linear_weight

LOAD_FORMAT = "bitsandbytes"
CHECKPOINT_FILES = ["consolidated*.safetensors"]
Weight = tuple[str, str, Tensor]
"""The name that the model loads it by, the name of the model's parameter, the tensor."""


def take_over() -> None:
    """Put RoutingLoader behind `--load-format bitsandbytes`.

    Plugins have no fixed order. So the other plugin registers its loader first, here; when vLLM
    calls it again, it does nothing.
    """
    vllm_bnb_plugin.register()
    register_model_loader(LOAD_FORMAT)(RoutingLoader)


class RoutingLoader(BitsAndBytesModelLoader):  # type: ignore[misc]
    """The loader for `--load-format bitsandbytes`: ours for Voxtral Realtime, else the plugin's."""

    def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
        """Fill `model` from its checkpoint."""
        if ARCHITECTURE in model_config.architectures:
            VoxtralLoader(self.load_config).load_weights(model, model_config)
        else:
            super().load_weights(model, model_config)

    def download_model(self, model_config: Any) -> None:
        """Download the files that load_weights reads."""
        if ARCHITECTURE in model_config.architectures:
            VoxtralLoader(self.load_config).download_model(model_config)
        else:
            super().download_model(model_config)


class VoxtralLoader(BitsAndBytesModelLoader):  # type: ignore[misc]
    """The plugin's loader, given the names, row orders and biases that vLLM's model expects."""

    def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
        """Fill `model` from its checkpoint."""
        self.head_dim = model_config.hf_config.text_config.head_dim
        super().load_weights(model, model_config)

    def _prepare_weights(
        self, model_name_or_path: str, revision: str | None
    ) -> tuple[list[str], bool]:
        _, files, _ = self._get_weight_files(model_name_or_path, CHECKPOINT_FILES, revision)
        return sorted(files), True

    def _hf_weight_iter(
        self, hf_weights_files: list[str], use_safetensors: bool
    ) -> Iterator[Weight]:
        for path in hf_weights_files:
            for name, tensor in read_tensors(path):
                yield from prepared(name, tensor, self.head_dim)


def read_tensors(path: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a safetensors file, mapped into memory one at a time.

    The file is opened again for each tensor, because the pages of an open mapping stay resident.
    Measured by bench/vllm_loader_memory.py at the real size, in addition to the model: 1.7 GB,
    and 10.2 GB with one mapping.
    """
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    for name in names:
        with safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(name)
        yield name, tensor


def prepared(name: str, tensor: Tensor, head_dim: int) -> Iterator[Weight]:
    """A checkpoint parameter in the form vLLM's model loads; a bias follows the encoder's wk."""
    weight = linear_weight(name)
    if weight is None:
        yield name, name, tensor
        return
    if weight.is_decoder and weight.part in ("wq", "wk"):
        tensor = halves_apart(tensor, head_dim)
    yield weight.loading_name, weight.parameter_name, tensor
    if not weight.is_decoder and weight.part == "wk":
        yield zero_bias(weight, tensor)


def halves_apart(weight: Tensor, head_dim: int) -> Tensor:
    """Reorder the rows of each head for vLLM's rotary embedding, [heads * head_dim, in].

    In the checkpoint the two rows of a rotary pair are adjacent; the result has the first rows of
    all pairs, then the second rows. This equals `permute` in
    `MistralForCausalLM.maybe_remap_mistral` of vLLM 0.33; that runs after quantization, when the
    rows are packed and cannot be reordered.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(rows // head_dim, head_dim // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def zero_bias(weight: LinearWeight, tensor: Tensor) -> Weight:
    """The bias, [out], that Whisper's keys do not have but vLLM's fused qkv_proj does.

    Like `_create_fake_bias_for_k_proj` of vLLM 0.33, but that would count packed rows.
    """
    loading_name = weight.loading_name.removesuffix("weight") + "bias"
    parameter_name = weight.parameter_name.removesuffix("weight") + "bias"
    return loading_name, parameter_name, torch.zeros(tensor.shape[0], dtype=tensor.dtype)
