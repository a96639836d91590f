"""How often the key may be guessed: properties over many seeded rows of guesses."""

import random

import pytest

from lanscribe.server import guesses
from lanscribe.server.guesses import FREE_GUESSES, LONGEST_PAUSE_S, TRUSTED_S, Guesses

HOME, OTHER, NEIGHBOUR = "203.0.113.5", "203.0.113.6", "2001:db8:0:1::7"


def test_a_few_wrong_keys_cost_nothing() -> None:
    one = Guesses()
    assert [one.wrong(HOME, 1, float(second)) for second in range(FREE_GUESSES)] == [0] * 5
    assert one.pause_s(HOME, 10.0) == 0


def test_the_pause_grows_to_its_bound_and_is_each_address_own() -> None:
    one, now_s, pauses = Guesses(), 0.0, list[float]()
    one.wrong(HOME, FREE_GUESSES, now_s)
    for _ in range(12):
        pauses.append(one.wrong(HOME, 1, now_s))
        assert one.pause_s(HOME, now_s) == pauses[-1]
        assert one.pause_s(OTHER, now_s) == 0
        now_s += pauses[-1]
        assert one.pause_s(HOME, now_s) == 0
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_many_keys_in_one_request_are_many_guesses() -> None:
    one = Guesses()
    assert one.wrong(HOME, FREE_GUESSES + 3, 0.0) == 4
    assert Guesses().wrong(HOME, 10**6, 0.0) == LONGEST_PAUSE_S


def test_a_network_of_one_home_counts_as_one() -> None:
    one = Guesses()
    for number in range(FREE_GUESSES + 1):
        one.wrong(f"2001:db8:0:1::{number:x}", 1, 0.0)
    assert one.pause_s(NEIGHBOUR, 0.0) > 0
    assert one.pause_s("2001:db8:0:2::7", 0.0) == 0


def test_who_has_shown_the_key_is_trusted_for_a_day() -> None:
    one = Guesses()
    one.wrong(HOME, 100, 0.0)
    one.right(HOME, 400.0)
    assert one.wrong(HOME, 100, 400.0) == 0
    assert one.pause_s(HOME, 400.0 + TRUSTED_S - 1) == 0
    assert one.wrong(HOME, 100, 400.0 + TRUSTED_S) > 0


def test_a_day_without_a_guess_begins_anew() -> None:
    one = Guesses()
    one.wrong(HOME, 100, 0.0)
    assert one.wrong(HOME, 1, guesses.FORGOTTEN_S) == 0


def test_a_network_full_of_addresses_takes_no_memory_and_no_trust_away() -> None:
    one = Guesses()
    one.right(HOME, 0.0)
    for number in range(3 * guesses.MOST_ADDRESSES):
        one.wrong(f"2001:db8:1:{number:x}::1", 100, 1.0)
    assert len(one) <= guesses.MOST_ADDRESSES + 1
    assert one.wrong(HOME, 100, 2.0) == 0


@pytest.mark.parametrize("seed", range(100))
def test_nobody_guesses_faster_than_the_pauses_allow(seed: int) -> None:
    """Whatever the order: keys are looked at so often, and never in a pause."""
    rng = random.Random(seed)
    one, now_s, looked_at = Guesses(), 0.0, dict.fromkeys([HOME, OTHER, NEIGHBOUR], 0)
    until_s = dict.fromkeys(looked_at, 0.0)
    while now_s < 3600:
        now_s += rng.choice([0.0, 0.01, 1.0, 30.0])
        address = rng.choice([*looked_at])
        if (pause_s := one.pause_s(address, now_s)) > 0:
            assert pause_s <= LONGEST_PAUSE_S + 1e-6, f"seed {seed}"
            assert now_s + pause_s == pytest.approx(until_s[address]), f"seed {seed}"
            continue
        assert now_s >= until_s[address] - 1e-6, f"seed {seed}: looked at in a pause"
        looked_at[address] += 1
        until_s[address] = now_s + one.wrong(address, 1, now_s)
    assert max(looked_at.values()) <= FREE_GUESSES + 9 + 3600 / LONGEST_PAUSE_S, f"seed {seed}"


def test_a_crowd_of_addresses_does_not_end_the_pause_of_another() -> None:
    """Neither /64s of one network nor IPv4 addresses, of which each guesses a few times."""
    one = Guesses()
    one.wrong(HOME, 100, 0.0)
    for number in range(3 * guesses.MOST_ADDRESSES):
        high, low = divmod(number, 256)
        address = f"198.51.{high % 256}.{low}" if number % 2 else f"2001:db8:1:{number:x}::1"
        one.wrong(address, FREE_GUESSES, 1.0)
        assert len(one) <= guesses.MOST_ADDRESSES
    assert one.pause_s(HOME, 2.0) == LONGEST_PAUSE_S - 2


def test_when_all_that_are_remembered_wait_the_oldest_may_try_again() -> None:
    one = Guesses()
    for number in range(guesses.MOST_ADDRESSES):
        one.wrong(f"2001:db8:1:{number:x}::1", 100, 0.0)
    one.wrong(HOME, 100, 1.0)
    assert len(one) == guesses.MOST_ADDRESSES
    assert one.pause_s(HOME, 1.0) == LONGEST_PAUSE_S
    waiting = [
        number
        for number in range(guesses.MOST_ADDRESSES)
        if one.pause_s(f"2001:db8:1:{number:x}::1", 1.0) > 0
    ]
    assert len(waiting) == guesses.MOST_ADDRESSES - 1


def test_who_was_trusted_longest_ago_is_forgotten_first() -> None:
    one = Guesses()
    for number in range(guesses.MOST_ADDRESSES + 1):
        one.right(f"2001:db8:1:{number:x}::1", 0.0)
    assert len(one) == guesses.MOST_ADDRESSES
    assert one.wrong("2001:db8:1:0::1", 100, 1.0) > 0
    assert one.wrong("2001:db8:1:1::1", 100, 1.0) == 0


@pytest.mark.parametrize("seed", range(100))
def test_no_guesses_of_pages_delay_the_key_of_a_person(seed: int) -> None:
    """Whatever pages send, and from where: the pauses of people are those without any page."""
    rng = random.Random(seed)
    one, without_pages, now_s = Guesses(), Guesses(), 0.0
    for _ in range(300):
        now_s += rng.choice([0.0, 0.01, 1.0, 300.0, 40_000.0])
        address = rng.choice([HOME, OTHER, NEIGHBOUR])
        for page in rng.sample([HOME, OTHER, NEIGHBOUR], 2):
            one.wrong(page, rng.choice([1, 9, 100]), now_s, is_by_page=True)
        pause_s = one.pause_s(address, now_s)
        assert pause_s == without_pages.pause_s(address, now_s), f"seed {seed}"
        assert one.pause_s(address, now_s, is_by_page=True) >= pause_s, f"seed {seed}"
        if pause_s == 0 and rng.random() < 0.05:
            for each in (one, without_pages):
                each.right(address, now_s)
            assert one.pause_s(address, now_s, is_by_page=True) == 0, f"seed {seed}"
        elif pause_s == 0:
            waits = {each.wrong(address, 1, now_s) for each in (one, without_pages)}
            assert len(waits) == 1, f"seed {seed}"


def test_pages_wait_as_everybody_does_and_their_crowd_is_bounded() -> None:
    one = Guesses()
    waits = [one.wrong(HOME, 1, 0.0, is_by_page=True) for _ in range(FREE_GUESSES + 4)]
    assert waits == [0] * FREE_GUESSES + [1, 2, 4, 8]
    one.wrong(OTHER, 100, 1.0)
    for number in range(3 * guesses.MOST_ADDRESSES):
        one.wrong(f"2001:db8:1:{number:x}::1", 100, 1.0, is_by_page=True)
    assert len(one) == guesses.MOST_ADDRESSES + 1
    assert one.pause_s(OTHER, 2.0) == LONGEST_PAUSE_S - 1, "pages make nobody else forgotten"
