"""The planner's arithmetic beside vLLM's own, for the model in its real size.

All sizes agree to the byte; only buffers have an allowance, for small ones that are not planned.
"""

import json
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.voxtral import memory
from lanscribe.voxtral.plan import PROFILES, Profile, Wish, work_out
from tests.vllm.real.conftest import RunModule

PROFILE_FILES = [PROJECT_DIR / f"config/vllm/{profile.name}.yaml" for profile in PROFILES]
LONGEST = 131_072
SIZES = [
    *((batch, LONGEST) for batch in (64, 128, 256, 2048)),
    (192, 3840),
    (320, 1664),
    (192, 16_384),
    (192, 45_000),
    (4096, 1024),
]
"""max-num-batched-tokens and max-model-len."""
SMALL_BUFFERS_BYTES = 200_000
SCALE_BLOCK = 64
"""bitsandbytes keeps a float32 for so many parameters, outside of vLLM's own."""


@pytest.fixture(scope="module")
def caches(run_module: RunModule) -> dict[tuple[int, int], dict[str, int]]:
    arguments = [f"{batch}:{length}" for batch, length in SIZES]
    answers = json.loads(run_module("tests.vllm.real.memory", "cache", *arguments).splitlines()[-1])
    return dict(zip(SIZES, answers, strict=True))


@pytest.mark.parametrize("quantization", memory.QUANTIZATIONS)
def test_weights_take_what_is_planned(
    run_module: RunModule, quantization: memory.Quantization
) -> None:
    output = run_module("tests.vllm.real.memory", "weights", quantization)
    found = json.loads(output.splitlines()[-1])
    linear = memory.linear_parameters()
    planned_bytes = memory.weight_bytes(quantization)
    match quantization:
        case "bf16":
            assert found["parameters"] == linear + memory.other_parameters()
            assert found["bytes"] == planned_bytes
        case "nf4":
            scale_bytes = linear // SCALE_BLOCK * memory.FLOAT32_BYTES
            assert found["packed_bytes"] == linear // 2
            assert found["bytes"] + scale_bytes == planned_bytes
        case "fp8":
            assert found["quantized_when_loaded"] == linear
            assert found["bytes"] - linear == planned_bytes
    buffers_bytes = found["buffer_bytes"]
    assert 0 <= buffers_bytes - memory.rotary_bytes() < SMALL_BUFFERS_BYTES


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}-{size[1]}")
def test_the_cache_is_divided_as_planned(
    caches: dict[tuple[int, int], dict[str, int]], size: tuple[int, int]
) -> None:
    batch, length = size
    reserved_bytes = memory.reserved_blocks(batch, length) * memory.BLOCK_BYTES
    assert caches[size] == {
        "block_bytes": memory.BLOCK_BYTES,
        "reserved_bytes": reserved_bytes,
        "least_bytes": reserved_bytes + memory.BLOCK_BYTES,
        "session_bytes": memory.session_blocks(length) * memory.BLOCK_BYTES,
        "encoder_cache_bytes": memory.encoder_cache_bytes(batch, length),
    }


def test_a_plan_has_room_for_what_vllm_wants(
    caches: dict[tuple[int, int], dict[str, int]],
) -> None:
    plan = work_out(Wish(12, sessions=4))
    found = caches[plan.max_num_batched_tokens, plan.max_model_len]
    assert plan.kv_bytes >= found["least_bytes"]
    assert plan.kv_bytes >= 4 * found["session_bytes"] + found["block_bytes"]


@pytest.fixture(scope="module")
def understood(run_module: RunModule) -> dict[str, dict[str, object]]:
    files = map(str, PROFILE_FILES)
    answer: dict[str, dict[str, object]] = json.loads(
        run_module("tests.vllm.real.memory", "flags", *files).splitlines()[-1]
    )
    return answer


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_vllm_understands_every_line_of_a_profile(
    understood: dict[str, dict[str, object]], profile: Profile
) -> None:
    name = str(PROJECT_DIR / f"config/vllm/{profile.name}.yaml")
    served = profile.options["served-model-name"]
    assert understood[name] == {**profile.options, "served-model-name": [served]}


def test_vllm_refuses_an_option_it_does_not_know(run_module: RunModule, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("max-num-sessions: 4\n")
    with pytest.raises(AssertionError, match="max-num-sessions"):
        run_module("tests.vllm.real.memory", "flags", str(file))
