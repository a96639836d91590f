"""The memory planner: its numbers, what it refuses, and the profiles made with it."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from lanscribe import PROJECT_DIR
from lanscribe.admin.commands import dispatch
from lanscribe.voxtral import memory
from lanscribe.voxtral.memory import GIB, MIB, QUANTIZATIONS
from lanscribe.voxtral.plan import (
    PROFILES,
    Profile,
    Wish,
    alternatives,
    most_sessions,
    profile_for,
    prompt_tokens,
    work_out,
)

PROFILE_DIR = PROJECT_DIR / "config/vllm"
LONGEST = 131_072

wishes = st.builds(
    Wish,
    gpu_gib=st.floats(2, 90),
    sessions=st.integers(1, 40),
    quantization=st.sampled_from(QUANTIZATIONS),
    minutes=st.floats(0.5, 174),
    free_gib=st.none() | st.floats(0, 90),
)


def test_sessions_start_with_39_tokens() -> None:
    assert prompt_tokens() == 39
    assert prompt_tokens(2400) == 63


@given(wishes)
def test_the_share_lies_between_the_least_and_the_most_where_it_fits(wish: Wish) -> None:
    plan = work_out(wish)
    least, most = plan.percents
    assert (least <= plan.percent <= most) or not plan.fits


@given(wishes)
def test_the_options_are_those_that_vllm_accepts(wish: Wish) -> None:
    plan = work_out(wish)
    assert plan.max_num_batched_tokens >= prompt_tokens(wish.delay_ms) * wish.sessions
    assert plan.max_model_len >= min(wish.minutes * 750, LONGEST - 75)
    assert plan.max_model_len <= LONGEST
    if plan.fits:
        assert 0 < plan.options["gpu-memory-utilization"] < 1


@given(wishes)
def test_a_plan_that_fits_has_room_for_all_it_lists(wish: Wish) -> None:
    plan = work_out(wish)
    if plan.fits:
        share_bytes = plan.percent * plan.visible_bytes // 100
        outside_bytes = sum(line.size_bytes for line in plan.outside)
        assert sum(line.size_bytes for line in plan.inside) + plan.spare_bytes == share_bytes
        assert share_bytes + outside_bytes <= plan.visible_bytes
        assert plan.spare_bytes >= GIB // 2 - 100


@given(wishes, st.floats(0, 20))
def test_more_memory_never_allows_fewer_sessions(wish: Wish, more_gib: float) -> None:
    wish = replace(wish, free_gib=None)
    larger = replace(wish, gpu_gib=wish.gpu_gib + more_gib)
    assert most_sessions(larger) >= most_sessions(wish)


@given(wishes)
def test_a_refused_plan_names_only_what_fits(wish: Wish) -> None:
    if not work_out(wish).fits:
        others = alternatives(wish)
        assert others
        assert all(work_out(other).fits for other in others)


def test_a_card_that_is_in_use_is_told_how_much_to_free() -> None:
    wish = Wish(12, sessions=4, free_gib=5)
    assert not work_out(wish).fits
    near = alternatives(wish)[0]
    assert near == replace(wish, free_gib=8)
    assert str(near).endswith("on a card of 12 GiB with 8 GiB free")
    assert str(replace(wish, free_gib=None)).endswith("on a card of 12 GiB")


@pytest.mark.parametrize(
    ("wish", "other"),
    [
        (Wish(7, sessions=10, minutes=30.0), Wish(7, sessions=1, minutes=1.0)),
        (Wish(4, sessions=10, minutes=30.0, free_gib=3), Wish(24, sessions=10, minutes=30.0)),
        (
            Wish(2, sessions=40, minutes=170.0, quantization="bf16"),
            Wish(80, sessions=40, minutes=170.0, quantization="bf16"),
        ),
        (Wish(2, sessions=200, minutes=170.0), Wish(8, sessions=1, minutes=1.0)),
    ],
    ids=["the smallest wish", "a larger card", "the largest card", "both"],
)
def test_a_wish_that_no_single_change_makes_fit_gets_one_way_out(wish: Wish, other: Wish) -> None:
    assert alternatives(wish) == [other]


@given(wishes)
def test_what_has_to_be_free_is_what_the_plan_asks_for(wish: Wish) -> None:
    least_gib = work_out(wish).least_free_bytes / GIB
    if least_gib < wish.gpu_gib * 0.95:
        assert work_out(replace(wish, free_gib=least_gib + 0.001)).fits
        assert not work_out(replace(wish, free_gib=least_gib - 0.001)).fits


@given(wishes, st.floats(0.5, 90))
def test_vllm_finds_its_share_free_beside_its_own_context(wish: Wish, free_gib: float) -> None:
    """It compares the two when CUDA has been started (request_memory in v1/worker/utils.py)."""
    plan = work_out(replace(wish, free_gib=free_gib))
    if plan.fits:
        share_bytes = plan.percent * plan.visible_bytes / 100
        assert share_bytes <= free_gib * GIB - memory.CONTEXT_BYTES


def test_steps_grow_with_sessions_and_with_minutes() -> None:
    assert work_out(Wish(12, sessions=4, minutes=5)).step_ms == 84
    assert work_out(Wish(24, sessions=8, minutes=2)).step_ms == 72


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_says_what_the_planner_says(profile: Profile) -> None:
    text = (PROFILE_DIR / f"{profile.name}.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == profile.options
    assert work_out(profile.wish).fits


def test_no_profile_lies_about_unplanned() -> None:
    assert {path.stem for path in PROFILE_DIR.iterdir()} == {one.name for one in PROFILES}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_line_of_a_profile_has_its_reason(profile: Profile) -> None:
    lines = (PROFILE_DIR / f"{profile.name}.yaml").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        if line and not line.startswith("#"):
            assert before, line


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_gives_the_reason_for_its_share(profile: Profile) -> None:
    plan = work_out(profile.wish)
    gib = {line.name: line.size_bytes / GIB for line in plan.inside}
    weights, cache = gib.pop("weights"), gib.pop("KV cache")
    text = (PROFILE_DIR / f"{profile.name}.yaml").read_text(encoding="utf-8").replace("\n# ", " ")
    assert (
        f"Of {plan.visible_bytes / GIB:.2f} GiB that CUDA sees at least: {weights:.2f} GiB weights,"
        f" {cache:.2f} GiB KV cache ({profile.wish.sessions} x {plan.session_bytes // MIB} MiB),"
        f" {sum(gib.values()):.2f} GiB for CUDA, activations and graphs,"
        f" {plan.spare_bytes / GIB:.2f} GiB to spare."
    ) in text


@pytest.mark.parametrize(
    ("mib", "name"),
    [
        (6138, None),
        (8188, "8gb"),
        (8192, "8gb"),
        (10_240, "rtx3060-12gb"),
        (12_288, "rtx3060-12gb"),
        (14_336, "rtx3060-12gb"),
        (16_376, "16gb"),
        (16_380, "16gb"),
        (20_475, "24gb"),
        (24_564, "24gb"),
        (81_559, "24gb"),
    ],
)
def test_a_card_gets_the_profile_of_its_size_or_the_next_smaller(
    mib: int, name: str | None
) -> None:
    assert profile_for(mib / 1024, (8, 6)) == name


def test_a_card_that_is_too_old_gets_none() -> None:
    assert profile_for(24, (7, 5)) is None


@given(st.floats(7.9, 100))
def test_the_chosen_profile_fits_the_card(total_gib: float) -> None:
    name = profile_for(total_gib, (8, 6))
    (profile,) = (one for one in PROFILES if one.name == name)
    plan = profile.on(total_gib)
    assert plan.fits
    assert plan.percent / 100 <= profile.options["gpu-memory-utilization"]
    assert plan.kv_bytes == work_out(profile.wish).kv_bytes


def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["plan", "--gpu-memory", "12", "--sessions", "4"]) == 0
    output = capsys.readouterr().out
    assert "688 MiB a session" in output
    assert "max-num-batched-tokens: 192" in output


def test_the_command_refuses_and_says_what_would_fit(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--gpu-memory", "12", "--sessions", "30", "--quantization", "bf16"]
    assert dispatch(["plan", *flags]) == 1
    output = capsys.readouterr().out
    assert "does not fit" in output
    assert "nf4, on a card of 12 GiB" in output.splitlines()[-1]


@pytest.mark.parametrize("gpu_gib", ["12", "4"])
def test_the_command_prints_json(gpu_gib: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = dispatch(["plan", "--gpu-memory", gpu_gib, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["fits"] is (status == 0)
    assert bool(report["options"]) is report["fits"]
    assert bool(report["alternatives"]) is not report["fits"]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "required: --gpu-memory"),
        (["--gpu-memory", "0"], "--gpu-memory: 0 is not from 1 to 1024"),
        (["--gpu-memory", "12", "--delay", "99"], "--delay: invalid choice: 99 (choose from 80,"),
    ],
)
def test_wrong_flags_are_refused(
    flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        dispatch(["plan", *flags])
    assert stopped.value.code == 2
    assert why in capsys.readouterr().err


OPERATIONS = (PROJECT_DIR / "docs/operations.md").read_text(encoding="utf-8")


def test_the_document_shows_the_plan_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["plan", "--gpu-memory", "12", "--sessions", "4"])
    assert capsys.readouterr().out.partition("\n\n")[0] in OPERATIONS


def test_the_document_tells_what_a_3060_gives_and_why_the_file_says_more() -> None:
    (profile,) = (one for one in PROFILES if one.name == "rtx3060-12gb")
    plan = profile.on(12)
    words = " ".join(OPERATIONS.split())
    assert f"{plan.percent} % of an RTX 3060" in words
    assert f"on an RTX 3060 {math.ceil(plan.least_free_bytes / MIB)} MiB have to be free" in words
    assert f"The file says {profile.sizes['gpu-memory-utilization']}" in words


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_the_document_tells_sizes_and_the_least_time_of_a_step(
    quantization: memory.Quantization,
) -> None:
    size = memory.weight_bytes(quantization)
    assert f"| {size / 1e9:.2f} GB | {size / 360e9 * 1e3:.1f} ms |" in OPERATIONS


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_document_lists_the_profile(profile: Profile) -> None:
    (row,) = (line for line in OPERATIONS.splitlines() if f"| `{profile.name}` |" in line)
    wish = profile.wish
    weights = {"nf4": "INT4", "fp8": "FP8", "bf16": "bf16"}[wish.quantization]
    assert row.endswith(f"| {weights} | {wish.sessions} | {wish.minutes:g} min |")
