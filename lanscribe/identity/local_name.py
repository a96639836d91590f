"""The box's name in multicast DNS, NAME.local: decisions without I/O (RFC 6762, section 8)."""

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address
from itertools import chain, count

DOMAIN = "local"
ANSWER_S, DEFENCE_S = 1.0, 0.25
"""The least time from one multicast of a record to the next, and to the answer to a probe."""


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


class Answers:
    """How often this machine tells one network that it has its name (RFC 6762, section 6)."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def is_due(self, now_s: float, *, is_probed: bool) -> bool:
        """Whether to answer now; True counts as an answer. is_probed: another wants the name."""
        is_due = now_s - self._last_s >= (DEFENCE_S if is_probed else ANSWER_S)
        if is_due:
            self._last_s = now_s
        return is_due


def _by_family(addresses: Iterable[str]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {4: [], 6: []}
    for address in map(ip_address, addresses):
        found[address.version].append(address.packed)
    return {version: sorted(packed) for version, packed in found.items()}
