"""The box's name in multicast DNS, NAME.local: decisions without I/O (RFC 6762, section 8)."""

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address
from itertools import chain, count

DOMAIN = "local"


def candidates(wanted: str, kept: str) -> Iterator[str]:
    """The labels to try in turn, without an end: the kept one, NAME, NAME-2, NAME-3 …

    kept: the label that was got last time; "" if there is none. It is forgotten if it does not
    belong to `wanted`.
    """
    numbered = (f"{wanted}-{number}" for number in count(2))
    first = [kept] if belongs(kept, wanted) else []
    return chain(first, (name for name in chain([wanted], numbered) if name not in first))


def belongs(label: str, wanted: str) -> bool:
    """Whether the label is `wanted`, or `wanted` with a number."""
    return re.fullmatch(rf"{re.escape(wanted)}(-[2-9]|-[1-9]\d+)?", label, re.ASCII) is not None


def full_name(label: str) -> str:
    """The name as people type it."""
    return f"{label}.{DOMAIN}"


def is_rival(theirs: Collection[str], own: Collection[str]) -> bool:
    """Whether addresses that answer to a name are those of another machine.

    own: every address of this machine, on any adapter: another responder of this machine, such as
    Avahi, is no rival.
    """
    return any(address not in own for address in theirs)


def loses(own: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether this machine leaves the name to the other: it has the lower addresses.

    Compared as in section 8.2: sorted, then by their bytes. An answer may have addresses of one
    family only: they are compared by IPv4 if both have it, else by IPv6, and IPv4 is the lower.
    """
    mine, others = _by_family(own), _by_family(theirs)
    for version in (4, 6):
        if mine[version] and others[version]:
            return mine[version] < others[version]
    return bool(mine[4])


def _by_family(addresses: Iterable[str]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {4: [], 6: []}
    for address in map(ip_address, addresses):
        found[address.version].append(address.packed)
    return {version: sorted(packed) for version, packed in found.items()}
