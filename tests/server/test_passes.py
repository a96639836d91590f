"""What a browser has after it has signed in: made-up, changed and old passes open nothing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.server import passes

NOW_S = 1_800_000_000.0
SECRET = passes.signing_secret("a-key-of-the-tests", "random")


def test_a_pass_is_valid_for_ninety_days() -> None:
    one = passes.make(SECRET, NOW_S)
    assert passes.is_valid(one, SECRET, NOW_S)
    assert passes.is_valid(one, SECRET, NOW_S + 90 * 86_400 - 1)
    assert not passes.is_valid(one, SECRET, NOW_S + 90 * 86_400)
    assert passes.make(SECRET, NOW_S) != one


def test_another_key_or_another_secret_ends_it() -> None:
    one = passes.make(SECRET, NOW_S)
    for secret in (
        passes.signing_secret("another-key", "random"),
        passes.signing_secret("a-key-of-the-tests", "another"),
    ):
        assert not passes.is_valid(one, secret, NOW_S)


@pytest.mark.parametrize("seed", range(50))
def test_no_letter_of_it_may_change(seed: int) -> None:
    rng, one = random.Random(seed), passes.make(SECRET, NOW_S)
    place = rng.randrange(len(one) - 1)  # the last letter has bits that mean nothing
    other = rng.choice([letter for letter in "AZaz09-_=. \u00e4" if letter != one[place]])
    changed = one[:place] + other + one[place + 1 :]
    assert not passes.is_valid(changed, SECRET, NOW_S), f"seed {seed}: {changed}"
    assert not passes.is_valid(one[:place], SECRET, NOW_S)
    assert not passes.is_valid(one + one[place], SECRET, NOW_S)


@given(st.text())
def test_no_text_is_a_pass(text: str) -> None:
    assert not passes.is_valid(text, SECRET, 0)
    assert not passes.is_valid((text * 80)[: len(passes.make(SECRET, 0))], SECRET, 0)


def test_passes_are_found_among_other_cookies() -> None:
    headers = ["a=b; __Host-lanscribe=one;c", "__Host-lanscribe = two ;__host-lanscribe=x", ""]
    assert passes.shown(headers) == ["one", "two"]
    assert passes.shown([]) == []
