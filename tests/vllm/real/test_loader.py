"""What is in vLLM's model after our loader, parameter by parameter."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.real.conftest import RunModule
from tests.vllm.real.mutations import DECODER_SWAP, ENCODER_SWAP, MUTATIONS, NO_PERMUTE
from tests.vllm.real.voxtral import TINY

Report = dict[str, dict[str, Any]]
LAYERS = [f"language_model.model.layers.{number}" for number in range(TINY.decoder.layers)]
LAYERS += [
    f"whisper_encoder.whisper_encoder.layers.{number}" for number in range(TINY.encoder.layers)
]
LINEAR = tuple(f"{part}_proj.weight" for part in ("qkv", "o", "out", "gate_up", "down"))


@pytest.fixture(scope="module")
def reports(
    run_module: RunModule, tiny_checkpoint: Path, dequantized_checkpoint: Path
) -> dict[str, Report]:
    """The 4-bit model beside the bf16 one: as it is, and with each mutation of the loader."""
    checkpoints = (str(tiny_checkpoint), str(dequantized_checkpoint))
    output = run_module("tests.vllm.real.weights", "compare", *checkpoints, *MUTATIONS)
    reports: dict[str, Report] = json.loads(output.splitlines()[-1])
    return reports


def test_every_parameter_is_the_bf16_models_bit_for_bit(reports: dict[str, Report]) -> None:
    assert changed(reports["none"]) == []


def test_all_linear_layers_of_both_towers_have_4_bits_and_nothing_else(
    reports: dict[str, Report],
) -> None:
    quantized = {name for name, one in reports["none"].items() if one["is_quantized"]}
    assert quantized == {name for name in reports["none"] if name.endswith(LINEAR)}
    assert len(quantized) == 4 * len(LAYERS)


@pytest.mark.parametrize(
    ("mutation", "tower", "parameter"),
    [
        (NO_PERMUTE, "language_model", "self_attn.qkv_proj.weight"),
        (DECODER_SWAP, "language_model", "mlp.gate_up_proj.weight"),
        (ENCODER_SWAP, "whisper_encoder", "mlp.gate_up_proj.weight"),
    ],
)
def test_the_comparison_notices_a_broken_loader(
    reports: dict[str, Report], mutation: str, tower: str, parameter: str
) -> None:
    expected = [f"{layer}.{parameter}" for layer in LAYERS if layer.startswith(tower)]
    assert changed(reports[mutation]) == expected


def changed(report: Report) -> list[str]:
    """The parameters that are not the same in both models."""
    return [name for name, one in report.items() if one["largest"] != 0]
