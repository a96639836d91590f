import tracemalloc
from contextlib import ExitStack

import pytest

from lanscribe.errors import LimitError
from lanscribe.server.slots import Slots


def test_slots_are_given_back_also_after_an_error() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    with slots.take(), pytest.raises(LimitError) as caught, slots.take():
        pass
    assert caught.value.code == "server_busy"
    assert slots.taken == 0


def test_one_address_leaves_half_of_the_slots_to_others() -> None:
    slots = Slots(8)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(slots.take("192.168.1.5"))
        with pytest.raises(LimitError, match=r"192\.168\.1\.5") as caught:
            held.enter_context(slots.take("::ffff:192.168.1.5"))
        assert caught.value.code == "server_busy"
        held.enter_context(slots.take("192.168.1.6"))
    for _ in range(5):
        with slots.take("192.168.1.5"):
            pass


def test_addresses_that_have_gone_take_no_memory() -> None:
    slots = Slots(8)
    tracemalloc.start()
    try:
        for number in range(2000):
            with slots.take(f"10.0.{number // 250}.{number % 250}"):
                pass
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 20_000


@pytest.mark.parametrize(("capacity", "per_address", "most"), [(2, 0, 2), (3, 0, 2), (9, 1, 1)])
def test_how_many_slots_one_address_has(capacity: int, per_address: int, most: int) -> None:
    slots = Slots(capacity, per_address)
    with ExitStack() as held:
        for _ in range(most):
            held.enter_context(slots.take("10.0.0.1"))
        with pytest.raises(LimitError):
            held.enter_context(slots.take("10.0.0.1"))


def test_programs_on_this_machine_share_all_slots() -> None:
    slots = Slots(8)
    with ExitStack() as held:
        for address in ["127.0.0.1", "::1"] * 4:
            held.enter_context(slots.take(address))
        with pytest.raises(LimitError, match="8 sessions run"):
            held.enter_context(slots.take("::1"))


def test_room_is_what_take_goes_by() -> None:
    slots = Slots(4, per_address=1)
    assert slots.has_room("192.168.1.2")
    with slots.take("192.168.1.2"):
        assert not slots.has_room("192.168.1.2")
        assert slots.has_room("192.168.1.3")
