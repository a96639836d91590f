"""Where the parameters of the published checkpoint go. Needs no vLLM."""

import pytest

from lanscribe.vllm.plugin.names import STREAMS, LinearWeight, linear_weight
from tests.vllm.real.voxtral import REAL, parameter_count, parameter_shapes

ENCODER = f"{STREAMS}.whisper_encoder"


def test_the_checkpoint_is_as_large_as_the_published_one() -> None:
    assert len(list(parameter_shapes(REAL))) == 711
    assert parameter_count(REAL) == 4_429_679_360


def test_the_linear_layers_of_both_towers_are_found_and_nothing_else() -> None:
    names = [name for name, _ in parameter_shapes(REAL)]
    found = [name for name in names if linear_weight(name)]
    assert len(found) == 7 * (REAL.decoder.layers + REAL.encoder.layers)
    assert all(".attention.w" in name or ".feed_forward.w" in name for name in found)
    assert not any(name.endswith(".bias") for name in found)


def test_no_two_of_them_go_to_the_same_place() -> None:
    found = [linear_weight(name) for name, _ in parameter_shapes(REAL)]
    weights = [weight for weight in found if weight]
    assert len({weight.loading_name for weight in weights}) == len(weights)
    assert len({weight.parameter_name for weight in weights}) == len(weights)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "layers.25.attention.wq.weight",
            LinearWeight(
                is_decoder=True,
                part="wq",
                loading_name="model.layers.25.self_attn.q_proj.weight",
                parameter_name="language_model.model.layers.25.self_attn.q_proj.weight",
            ),
        ),
        (
            f"{ENCODER}.transformer.layers.3.feed_forward.w3.weight",
            LinearWeight(
                is_decoder=False,
                part="w3",
                loading_name=f"{ENCODER}.layers.3.mlp.fc3.weight",
                parameter_name="whisper_encoder.whisper_encoder.layers.3.mlp.up_proj.weight",
            ),
        ),
    ],
)
def test_where_it_goes(name: str, expected: LinearWeight) -> None:
    assert linear_weight(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        f"{STREAMS}.tok_embeddings.weight",
        f"{STREAMS}.audio_language_projection.0.weight",
        f"{ENCODER}.conv_layers.0.conv.weight",
        f"{ENCODER}.transformer.layers.0.attention.wq.bias",
        "layers.0.ada_rms_norm_t_cond.0.weight",
        "layers.0.attention_norm.weight",
        "norm.weight",
        "model.layers.0.self_attn.q_proj.weight",
    ],
)
def test_what_stays_in_bf16(name: str) -> None:
    assert linear_weight(name) is None
