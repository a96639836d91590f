"""Who has room: properties over many seeded rows of comings and goings."""

import random
from collections import Counter

import pytest

from lanscribe.server.access import address_group
from lanscribe.server.crowd import AddressPaces, Crowd, WarningPaces

ADDRESSES = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "fd00::1", "fd00::2", "fd00:0:0:1::1"]
MOST = 8
SHARE = MOST // 2


class Guest:
    """Somebody who may be dropped, or not."""

    def __init__(self, *, is_spare: bool) -> None:
        self.is_spare = is_spare


def _is_spare(guest: Guest) -> bool:
    return guest.is_spare


@pytest.mark.parametrize("seed", range(200))
def test_whoever_has_nothing_under_way_shuts_nobody_out(seed: int) -> None:
    rng = random.Random(seed)
    crowd, inside = Crowd[Guest](MOST, _is_spare), dict[Guest, str]()
    for step in range(60):
        why = f"seed {seed}, step {step}"
        if inside and rng.random() < 0.3:
            leaver = rng.choice([*inside])
            crowd.leave(leaver)
            del inside[leaver]
            continue
        guest, address = Guest(is_spare=rng.random() < 0.7), rng.choice(ADDRESSES)
        before = Counter(address_group(one) for one in inside.values())
        left = crowd.enter(guest, address)
        if left is guest:
            mine = before[address_group(address)]
            is_at_share = mine >= SHARE
            others_are_busy = len(inside) == MOST and not any(
                one.is_spare and before[address_group(of)] > mine for one, of in inside.items()
            )
            assert is_at_share or others_are_busy, why
        else:
            inside[guest] = address
            if left is not None:
                assert left.is_spare, why
                del inside[left]
        counts = Counter(address_group(one) for one in inside.values())
        assert len(crowd) == len(inside) <= MOST, why
        assert max(counts.values(), default=0) <= SHARE, why


def test_one_address_leaves_half_of_the_room_to_others() -> None:
    crowd = Crowd[int](MOST, lambda _: False)
    assert [crowd.enter(number, "10.0.0.1") for number in range(5)] == [None] * 4 + [4]
    assert [crowd.enter(10 + number, "10.0.0.2") for number in range(4)] == [None] * 4
    assert crowd.enter(20, "10.0.0.3") == 20  # all have something under way


def test_the_oldest_of_whoever_has_most_leaves_for_one_who_has_less() -> None:
    crowd = Crowd[int](4, lambda _: True)
    for number, address in enumerate(["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]):
        assert crowd.enter(number, address) is None
    assert crowd.enter(4, "10.0.0.4") == 0
    assert crowd.enter(5, "10.0.0.2") == 5  # nobody has more than this one has already


def test_programs_on_this_machine_may_have_all_the_room_until_others_come() -> None:
    crowd = Crowd[int](4, lambda _: True)
    assert [crowd.enter(number, "127.0.0.1") for number in range(5)] == [None] * 4 + [4]
    assert crowd.enter(5, "10.0.0.1") == 0


def test_who_has_left_twice_is_counted_once() -> None:
    crowd = Crowd[int](2, lambda _: False)
    crowd.enter(1, "10.0.0.1")
    for _ in range(2):
        crowd.leave(1)
    assert len(crowd) == 0


@pytest.mark.parametrize("seed", range(50))
def test_an_address_keeps_its_pace_over_all_its_connections(seed: int) -> None:
    rng = random.Random(seed)
    paces, now_s, taken = AddressPaces(10, burst=20), 0.0, 0.0
    for _ in range(100):
        now_s += rng.uniform(0, 0.3)
        amount = rng.choice([1, 1, 5, 10])
        address = rng.choice(["fd00::1", "fd00::2:3"])
        assert paces.take("10.0.0.1", 0, now_s) == 0, f"seed {seed}: another address waits"
        now_s += paces.take(address, amount, now_s)
        taken += amount
        assert taken <= 20 + 10 * now_s + 1e-6, f"seed {seed}"


def test_a_proxy_is_not_paced_for_all_whom_it_speaks_for() -> None:
    paces = AddressPaces(1, 1, proxies=["10.0.0.0/30", "fd00::1"])
    for address in ("10.0.0.1", "::ffff:10.0.0.2", "fd00::1"):
        assert [paces.take(address, 5, 0.0) for _ in range(3)] == [0, 0, 0]
    assert paces.take("10.0.0.9", 5, 0.0) > 0


def test_addresses_without_number_take_no_memory() -> None:
    paces = AddressPaces(1, 1)
    for number in range(5000):
        paces.take(f"2001:db8:{number:x}::1", 1, 0.0)
    assert len(paces) <= 1024


@pytest.mark.parametrize("seed", range(50))
def test_whatever_an_address_does_it_is_soon_heard_again(seed: int) -> None:
    rng = random.Random(seed)
    longest_s = rng.uniform(0.5, 20)
    paces = AddressPaces(rng.uniform(1, 100), rng.uniform(1, 300), longest_wait_s=longest_s)
    now_s = 0.0
    for _ in range(300):
        now_s += rng.choice([0.0, 0.0, rng.random()])
        wait_s = paces.take("10.0.0.1", rng.choice([0, 1, 5, 10, 1000]), now_s)
        assert wait_s <= longest_s + 1e-6, f"seed {seed}"
    assert paces.take("10.0.0.1", 0, now_s + longest_s + 1e-6) == 0, f"seed {seed}"


def test_an_address_alone_has_a_few_warnings() -> None:
    paces = WarningPaces()
    allowed = [paces.may_warn(second / 10, "10.0.0.1") for second in range(1000)]
    assert 10 + 10 <= sum(allowed) <= 10 + 12
    assert all(allowed[:10])
    assert paces.may_warn(100.0, "10.0.0.2")
    assert paces.left_out(1000.0) == 0, "its own flood is no flood of many"


@pytest.mark.parametrize("seed", range(20))
def test_all_addresses_together_have_a_bound_and_the_others_are_counted(seed: int) -> None:
    rng, paces, now_s, said = random.Random(seed), WarningPaces(), 0.0, 0
    asked = rng.randrange(2000, 9000)
    for number in range(asked):
        now_s += 20 / asked
        address = f"2001:db8:0:{number:x}::1" if rng.random() < 0.5 else ""
        said += paces.may_warn(now_s, address)
        assert paces.left_out(now_s) == 0, "not while it goes on"
    assert 20 <= said <= 20 + 20 + 2, f"seed {seed}"
    assert paces.left_out(now_s + 9) == 0
    assert paces.left_out(now_s + 11) == asked - said, f"seed {seed}"
    assert paces.left_out(now_s + 12) == 0, "told once"
