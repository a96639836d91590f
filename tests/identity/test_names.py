import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.identity.names import (
    ROUTER_SUFFIXES,
    SPECIAL_SUFFIXES,
    as_full_name,
    instance_name,
    label_of,
    own_names,
)


@pytest.mark.parametrize(
    ("hostname", "label"),
    [
        ("nas", "nas"),
        ("NAS.fritz.box", "nas"),
        ("localhost", ""),
        ("localhost.localdomain", ""),
        ("", ""),
        ("-", ""),
        ("a b", ""),
        ("my_box", "my_box"),
    ],
)
def test_the_label_of_a_machine(hostname: str, label: str) -> None:
    assert label_of(hostname) == label


def test_a_machine_has_its_name_with_every_suffix_of_the_network() -> None:
    names = own_names("nas", ["fritz.box", "Home.Example.", "bad suffix", ""])
    assert names[0] == "nas"
    assert names[1:] == [f"nas.{one}" for one in (*SPECIAL_SUFFIXES, *ROUTER_SUFFIXES)] + [
        "nas.home.example"
    ]


def test_a_full_hostname_is_a_name_too() -> None:
    assert own_names("nas.example.org", [])[:2] == ["nas", "nas.example.org"]


def test_a_machine_without_a_name_has_none() -> None:
    assert own_names("localhost", ["lan"]) == []


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=5))
def test_no_name_is_ever_a_whole_domain(hostname: str, suffixes: list[str]) -> None:
    label = label_of(hostname)
    for name in own_names(hostname, suffixes):
        assert name == label or name.startswith(f"{label}.")
        assert name == name.lower()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NAS.tail1.ts.net.", "nas.tail1.ts.net"),
        ("nas.lan", "nas.lan"),
        *(("nas", ""), ("", ""), (".", ""), ("nas..lan", ""), ("a b.lan", ""), ("nas.lan..", "")),
    ],
)
def test_a_full_name(text: str, name: str) -> None:
    assert as_full_name(text) == name


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("nas.fritz.box", "lanscribe-nas"),
        ("Max's Mac", "lanscribe-Max's Mac"),
        ("büro", "lanscribe-büro"),
        ("", "lanscribe"),
        (".", "lanscribe"),
        ("a\nb\x7f\udcff", "lanscribe-ab"),
        ("b" * 64, f"lanscribe-{'b' * 47}"),
        ("b" * 46 + "ü", f"lanscribe-{'b' * 46}"),
    ],
)
def test_the_name_of_the_services(hostname: str, name: str) -> None:
    assert instance_name(hostname) == name
