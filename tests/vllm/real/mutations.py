"""Ways to break the loader that its tests must notice."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from unittest import mock

from lanscribe.vllm.plugin import names

NO_PERMUTE = "no-permute"
DECODER_SWAP = "decoder-gate-up-swap"
ENCODER_SWAP = "encoder-gate-up-swap"
MUTATIONS = (NO_PERMUTE, DECODER_SWAP, ENCODER_SWAP)
VARIABLE = "LANSCRIBE_TEST_MUTATION"
"""Names the mutation that `register` applies."""
SWAPPED_MODULES = {"w1": "mlp.up_proj", "w3": "mlp.gate_proj"}
SWAPPED_ALIASES = {"w1": "mlp.fc3", "w3": "mlp.fc1"}


@contextmanager
def applied(mutation: str) -> Iterator[None]:
    """The loader, broken for a while."""
    with ExitStack() as stack:
        for patch in _patches(mutation):
            stack.enter_context(patch)
        yield


def register() -> None:
    """Entry point `vllm.general_plugins`: the loader, broken for as long as the process runs."""
    for patch in _patches(os.environ[VARIABLE]):
        patch.__enter__()


def _patches(mutation: str) -> list[AbstractContextManager[object]]:
    if mutation == NO_PERMUTE:
        function = "lanscribe.vllm.plugin.loader.halves_apart"  # imported late: it needs vLLM
        return [mock.patch(function, lambda weight, head_dim: weight)]
    if mutation == DECODER_SWAP:
        return [mock.patch.dict(names.DECODER_MODULES, SWAPPED_MODULES)]
    modules = mock.patch.dict(names.ENCODER_MODULES, SWAPPED_MODULES)
    return [modules, mock.patch.dict(names.ENCODER_ALIASES, SWAPPED_ALIASES)]
