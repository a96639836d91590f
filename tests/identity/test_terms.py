from datetime import UTC, datetime, timedelta

import pytest

from lanscribe.identity.terms import (
    BEFORE_NOW,
    LEAF_LASTS,
    PERMITTED_SUFFIXES,
    Period,
    Subjects,
    best_first,
    is_permitted,
    leaf_period,
    wanted,
    why_due,
)

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATEST = NOW + 3000 * DAY
HERE = Subjects(("nas.local", "localhost"), ("192.168.1.5", "127.0.0.1", "::1"))
PERMITTED = (*PERMITTED_SUFFIXES, "nas", "nas.fritz.box")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nas", True),
        ("nas.local", True),
        ("nas.fritz.box", True),
        ("a.b.home.arpa", True),
        ("evil-lan", False),
        ("evil-nas", False),
        ("fritz.box", False),
        ("example.com", False),
        ("nas.evil.com", False),
        ("", False),
        (".local", False),
        ("nas.local.", False),
        ("*.local", False),
        ("a b.local", False),
        (f"{'a' * 64}.local", False),
        (f"{'a.' * 130}local", False),
    ],
)
def test_only_names_of_homes_are_permitted(name: str, expected: bool) -> None:
    assert is_permitted(name, PERMITTED) is expected


def test_a_leaf_is_for_permitted_names_and_private_addresses_each_once() -> None:
    addresses = ["192.168.1.5", "192.168.1.5", "8.8.8.8", "fd00::5", "fe80::1", "2001:db8::1", "lo"]
    found = wanted(["NAS.local.", "nas.local", "example.com", "localhost"], addresses, PERMITTED)
    assert found.names == ("nas.local", "localhost")
    assert found.addresses == ("192.168.1.5", "fd00::5", "127.0.0.1", "::1")


def test_what_others_can_use_comes_first() -> None:
    found = best_first(HERE, ["10.0.0.1", "192.168.1.5", "nas.local"])
    assert found == ("192.168.1.5", "nas.local", "127.0.0.1", "::1", "localhost")
    assert best_first(HERE, ["127.0.0.1"])[0] == "127.0.0.1"


def test_a_leaf_begins_before_now_and_never_outlasts_its_authority() -> None:
    begin = NOW - BEFORE_NOW
    assert leaf_period(NOW, LATEST) == Period(begin, begin + LEAF_LASTS)
    assert leaf_period(NOW, NOW + DAY) == Period(begin, NOW + DAY)


@pytest.mark.parametrize(
    ("age_days", "is_due"), [(0, False), (263, False), (265, True), (400, True), (-2, True)]
)
def test_a_leaf_is_renewed_by_the_clock(age_days: int, is_due: bool) -> None:
    period = leaf_period(NOW, LATEST)
    assert bool(why_due(HERE, period, HERE, NOW + age_days * DAY, LATEST)) is is_due


def test_a_leaf_that_ends_with_its_authority_is_not_made_again_and_again() -> None:
    period = leaf_period(NOW, NOW + 10 * DAY)
    assert why_due(HERE, period, HERE, NOW + 9 * DAY, NOW + 10 * DAY) == ""


def test_a_leaf_is_renewed_when_names_or_addresses_change_but_not_for_their_order() -> None:
    period = leaf_period(NOW, LATEST)
    turned = Subjects(HERE.names[::-1], HERE.addresses[::-1])
    assert why_due(HERE, period, turned, NOW, LATEST) == ""
    for other in (
        Subjects(HERE.names, (*HERE.addresses, "10.0.0.1")),
        Subjects(HERE.names[1:], HERE.addresses),
    ):
        assert "have changed" in why_due(HERE, period, other, NOW, LATEST)
