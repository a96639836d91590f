"""What the box's own certificate is for, and when a new one is due: decisions without I/O."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lanscribe.identity.names import SPECIAL_SUFFIXES

Network = IPv4Network | IPv6Network
PERMITTED_SUFFIXES = (*SPECIAL_SUFFIXES, "localhost")
"""Names that public DNS never has: the authority may vouch for them and what is below them."""
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
PERMITTED_NETWORKS: tuple[Network, ...] = tuple(
    map(ip_network, (*_LOOPBACK, *_PRIVATE, "fe80::/10"))
)
"""Addresses of homes, for which the authority may vouch (RFC 1918, 6598, 4193 and 4291)."""
_IN_LEAF: tuple[Network, ...] = tuple(map(ip_network, (*_LOOPBACK, *_PRIVATE)))
"""Without link-local addresses, which a URL cannot name."""
EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)
"""A clock before this has not been set yet, as on a board without a battery."""
BEFORE_NOW = timedelta(days=1)
"""How long before now a certificate begins, for devices whose clock is slow."""
AUTHORITY_LASTS = timedelta(days=3650)
LEAF_LASTS = timedelta(days=397)
"""Apple's devices refuse longer ones from public authorities (398 days), so none is longer here."""
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.|$))+(?<!\.)", re.A)


@dataclass(frozen=True, slots=True)
class Subjects:
    """The names and addresses for which a certificate is."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """When a certificate is valid."""

    begin: datetime
    end: datetime


def wanted(
    names: Iterable[str], addresses: Iterable[str], permitted_names: Sequence[str]
) -> Subjects:
    """Those names and addresses that may be in the leaf, each once, in their order.

    permitted_names: the name constraints of the authority.
    """
    lowered = (name.lower().rstrip(".") for name in names)
    kept = [name for name in lowered if is_permitted(name, permitted_names)]
    loopback = ["127.0.0.1", "::1"]
    local = [str(ip_address(one)) for one in (*addresses, *loopback) if _is_private(one)]
    return Subjects(tuple(dict.fromkeys(kept)), tuple(dict.fromkeys(local)))


def is_permitted(name: str, permitted_names: Sequence[str]) -> bool:
    """Whether an authority with these name constraints may vouch for a name (RFC 5280)."""
    ends = [f".{one}" for one in permitted_names]
    return bool(_NAME.fullmatch(name)) and any(f".{name}".endswith(end) for end in ends)


def best_first(subjects: Subjects, best: Sequence[str]) -> tuple[str, ...]:
    """Addresses and names in the order in which they help others: this machine's own last.

    best: addresses to begin with.
    """
    mine = {"localhost", "127.0.0.1", "::1"} - set(best)
    all_of_them = (*subjects.addresses, *subjects.names)
    first = [one for one in best if one in all_of_them]
    others = [one for one in all_of_them if one not in mine]
    return tuple(dict.fromkeys([*first, *others, *all_of_them]))


def leaf_period(now: datetime, latest: datetime) -> Period:
    """When a leaf that is made now is valid. latest: the end of its authority."""
    begin = now - BEFORE_NOW
    return Period(begin, min(begin + LEAF_LASTS, latest))


def why_due(
    shown: Subjects, period: Period, wanted: Subjects, now: datetime, latest: datetime
) -> str:
    """Why a leaf has to be replaced; "" if it does not. latest: the end of its authority."""
    if _as_sets(shown) != _as_sets(wanted):
        return "the names or addresses of this machine have changed"
    if now < period.begin:
        return f"it is valid only from {period.begin:%Y-%m-%d} on"
    if period.end - now < (period.end - period.begin) / 3 and period.end < latest:
        return f"it ends on {period.end:%Y-%m-%d}"
    return ""


def _as_sets(subjects: Subjects) -> tuple[set[str], set[str]]:
    return set(subjects.names), set(subjects.addresses)


def _is_private(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in _IN_LEAF)
