import re

import pytest

from lanscribe.voxtral.asked import Asked, refusal
from lanscribe.voxtral.plan import PROFILES, Profile

PROFILE = next(one for one in PROFILES if one.name == "rtx3060-12gb")
RTX_3060_GIB = 12.0


def told(asked: Asked, free_gib: float | None = 11.5, profile: Profile = PROFILE) -> str:
    plan = profile.on(RTX_3060_GIB, free_gib, asked.max_model_len)
    return refusal(asked, profile, plan)


def test_the_flags_are_those_of_vllm() -> None:
    assert Asked().flags == []
    assert Asked(32768, 0.9).flags == [
        "--max-model-len",
        "32768",
        "--gpu-memory-utilization",
        "0.9",
    ]


@pytest.mark.parametrize("asked", [Asked(), Asked(32768), Asked(0, 0.9), Asked(32768, 0.9)])
def test_what_the_kit_asks_for_fits_into_a_3060(asked: Asked) -> None:
    assert told(asked) == ""


def test_a_length_that_does_not_fit_is_told_with_the_longest_that_does() -> None:
    words = told(Asked(131_072), free_gib=8.0)
    match = re.fullmatch(
        r"--max-model-len 131072 does not fit: with the 4 sessions of the profile rtx3060-12gb it"
        r" takes (\d+\.\d) GiB of the 11\.6 GiB that CUDA sees \(8\.0 GiB free\); up to (\d+) fits",
        words,
    )
    assert match, words
    assert float(match[1]) > 8.0
    longest = int(match[2])
    assert told(Asked(longest), free_gib=8.0) == ""
    assert told(Asked(longest + 16), free_gib=8.0) != ""


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_share_that_does_not_fit_is_told_with_those_that_do(share: float) -> None:
    words = told(Asked(0, share))
    assert words.startswith(f"--gpu-memory-utilization {share:g} does not fit: it is ")
    match = re.search(r"from (0\.\d+) to (0\.\d+) fits$", words)
    assert match, words
    for fitting in match.groups():
        assert told(Asked(0, float(fitting))) == ""
    assert told(Asked(0, float(match[1]) - 0.01)) != ""
    assert told(Asked(0, float(match[2]) + 0.01)) != ""


def test_without_the_free_memory_the_usual_is_taken() -> None:
    words = told(Asked(0, 0.99), free_gib=None)
    assert "that CUDA sees, and the 4 sessions" in words


def test_a_card_that_is_in_use_is_told_elsewhere() -> None:
    assert told(Asked(131_072, 0.99), free_gib=4.0) == ""
