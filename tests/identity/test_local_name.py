from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.identity.local_name import (
    Answers,
    belongs,
    candidates,
    full_name,
    is_rival,
    loses,
)


@pytest.mark.parametrize(
    ("kept", "first"),
    [
        ("", ["lanscribe", "lanscribe-2", "lanscribe-3"]),
        ("lanscribe", ["lanscribe", "lanscribe-2", "lanscribe-3"]),
        ("lanscribe-2", ["lanscribe-2", "lanscribe", "lanscribe-3"]),
        ("lanscribe-12", ["lanscribe-12", "lanscribe", "lanscribe-2"]),
        ("studio", ["lanscribe", "lanscribe-2", "lanscribe-3"]),
    ],
)
def test_the_kept_name_is_tried_first(kept: str, first: list[str]) -> None:
    assert list(islice(candidates("lanscribe", kept), 3)) == first


@pytest.mark.parametrize(
    ("label", "is_ours"),
    [
        ("box", True),
        ("box-2", True),
        ("box-10", True),
        ("box-1", False),
        ("box-02", False),
        ("box-", False),
        ("box-a", False),
        ("boxes", False),
        ("box-2\n", False),
        ("", False),
    ],
)
def test_which_kept_names_fit_the_setting(label: str, is_ours: bool) -> None:
    assert belongs(label, "box") is is_ours


def test_a_name_as_people_type_it() -> None:
    assert full_name("lanscribe-2") == "lanscribe-2.local"


@pytest.mark.parametrize(
    ("theirs", "is_other"),
    [
        ([], False),
        (["192.168.1.7"], False),
        (["172.17.0.1", "fe80::7"], False),
        (["192.168.1.8"], True),
        (["192.168.1.7", "192.168.1.8"], True),
    ],
)
def test_only_another_machine_is_a_rival(theirs: list[str], is_other: bool) -> None:
    own = {"192.168.1.7", "172.17.0.1", "fe80::7"}
    assert is_rival(theirs, own) is is_other


@pytest.mark.parametrize(
    ("own", "theirs", "leaves"),
    [
        (["192.168.1.7"], ["192.168.1.8"], True),
        (["192.168.1.8"], ["192.168.1.7"], False),
        (["192.168.1.10"], ["192.168.1.9"], False),  # as numbers, not as letters
        (["fd00::7"], ["fd00::8"], True),
        (["192.168.1.7", "fd00::9"], ["fd00::8"], False),
        (["192.168.1.7"], ["fd00::8"], True),
        (["fd00::8"], ["192.168.1.7"], False),
        (["10.0.0.9", "10.0.0.2"], ["10.0.0.3"], True),
    ],
)
def test_the_lower_addresses_leave(own: list[str], theirs: list[str], leaves: bool) -> None:
    assert loses(own, theirs) is leaves


@given(st.sets(st.ip_addresses(v=4).map(str), min_size=2, max_size=6), st.integers(1, 5))
def test_exactly_one_of_two_machines_leaves(addresses: set[str], cut: int) -> None:
    """Else both would keep the name, or both would change it at each look."""
    found = sorted(addresses)
    own, theirs = found[: min(cut, len(found) - 1)], found[min(cut, len(found) - 1) :]
    assert loses(own, theirs) is not loses(theirs, own)


def test_a_name_is_told_once_a_second_and_to_those_that_want_it_four_times() -> None:
    answers = Answers()
    told = [tick / 16 for tick in range(48) if answers.is_due(tick / 16, is_probed=False)]
    assert told == [0, 1, 2]
    told = [tick / 16 for tick in range(48, 80) if answers.is_due(tick / 16, is_probed=True)]
    assert told == [3 + quarter / 4 for quarter in range(8)]
