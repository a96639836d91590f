from pathlib import Path

import publicsuffixlist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.identity import authority as authorities
from lanscribe.identity.names import SPECIAL_SUFFIXES, own_names
from lanscribe.identity.public_suffixes import public_suffixes
from lanscribe.identity.terms import PERMITTED_SUFFIXES
from tests.identity.boxes import NOW


def entries() -> list[str]:
    """ICANN's entries of the list that are ASCII; a label in the place of each wildcard."""
    path = Path(publicsuffixlist.__file__).with_name("public_suffix_list.dat")
    section = path.read_text(encoding="utf-8").partition("===END ICANN")[0]
    rules = [line for line in section.splitlines() if line and not line.startswith(("//", "!"))]
    return [rule.replace("*", "any") for rule in rules if rule.isascii()]


ENTRIES = entries()


def test_every_entry_of_the_list_is_one() -> None:
    assert len(ENTRIES) > 5000
    assert {"com", "dev", "box", "studio", "co.uk"} <= set(ENTRIES)
    assert public_suffixes(ENTRIES) == frozenset(ENTRIES)


def test_nothing_below_an_entry_and_no_name_of_a_home_is_one() -> None:
    names = [f"nas.{suffix}" for suffix in (*SPECIAL_SUFFIXES, "fritz.box", "example.com")]
    others = ["nas", "attic", "localhost", "local", "lan", "www.ck"]
    assert public_suffixes([*names, *others]) == frozenset()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ENTRIES))
def test_no_host_name_makes_an_authority_for_one(entry: str) -> None:
    """The entry is what the machine's label and its search domain are together."""
    label, _, suffix = entry.partition(".")
    own = own_names(label, [suffix])
    assert entry in own
    permitted = authorities.make(own, NOW).permitted_names
    assert public_suffixes(permitted) <= frozenset(PERMITTED_SUFFIXES)
    assert f"{label}.local" in permitted
    assert f"{label}.fritz.box" in permitted


@pytest.mark.parametrize("hostname", ["co.uk", "any.ck"])
def test_a_full_host_name_that_is_one_is_left_out(hostname: str) -> None:
    permitted = authorities.make(own_names(hostname, []), NOW).permitted_names
    assert hostname not in permitted
