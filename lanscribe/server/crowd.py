"""Limits the number of connections, the rate of requests from each address, and warnings.

Decisions without clock, socket or network.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from math import inf
from typing import Generic, TypeVar

from lanscribe.server.access import address_group, is_in, is_loopback
from lanscribe.server.slots import LEAST_OF_AN_ADDRESS
from lanscribe.session.pace import TokenBucket

LONGEST_WAIT_S = 5.0
"""The longest wait of an address after its flood has ended: half of the time in which a connection
has to send its request."""
_MOST_ADDRESSES = 1024
"""How many addresses are remembered, the most recent ones; a forgotten one starts again."""

_OF_ADDRESS_PER_S, _OF_ADDRESS_AT_ONCE = 0.1, 10
_OF_ALL_PER_S, _OF_ALL_AT_ONCE = 1.0, 20
"""Warnings: a flood of them would push everything older out of the log."""
_QUIET_S = 10.0
"""A flood is over when no warning was left out for so long."""

_Member = TypeVar("_Member")


class Crowd(Generic[_Member]):
    """All connected members, up to a limit; one address has at most half of the places.

    When all places are taken, an idle member is dropped for an address that has fewer members.
    Programs on this machine may serve many people, so they may take all places.
    """

    def __init__(self, most: int, is_spare: Callable[[_Member], bool]) -> None:
        """is_spare: whether a member is idle, so that it may be dropped for another."""
        self._most = most
        self._is_spare = is_spare
        self._groups: dict[_Member, str] = {}
        self._of_group: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._groups)

    def enter(self, member: _Member, address: str) -> _Member | None:
        """Count `member`; return the member to drop: None, `member` itself, or another one.

        The returned member is not counted.
        """
        group = address_group(address)
        share = max(LEAST_OF_AN_ADDRESS, self._most // 2)
        if self._of_group[group] >= share and not is_loopback(address):
            return member
        leaver = self._one_to_leave(group) if len(self._groups) >= self._most else None
        if len(self._groups) >= self._most:
            if leaver is None:
                return member
            self.leave(leaver)
        self._groups[member] = group
        self._of_group[group] += 1
        return leaver

    def leave(self, member: _Member) -> None:
        """Stop counting `member`; does nothing if it is not counted."""
        group = self._groups.pop(member, None)
        if group is not None:
            self._of_group[group] -= 1
            self._of_group += Counter()  # removes the addresses whose count is zero

    def _one_to_leave(self, group: str) -> _Member | None:
        """The oldest spare one of the address with most; None unless it has more than `group`."""
        spare = [one for one in self._groups if self._is_spare(one)]
        if not spare:
            return None
        oldest = max(spare, key=lambda one: self._of_group[self._groups[one]])
        has_more = self._of_group[self._groups[oldest]] > self._of_group[group]
        return oldest if has_more else None


class AddressPaces:
    """Limits the rate of each address over all its connections: beyond the rate it has to wait."""

    def __init__(
        self,
        rate_per_s: float,
        burst: float,
        proxies: Iterable[str] = (),
        *,
        longest_wait_s: float = inf,
    ) -> None:
        """proxies: addresses and networks that forward for many clients, and are not paced."""
        self._proxies = [ip_network(proxy, strict=False) for proxy in proxies]
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._longest_wait_s = longest_wait_s
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str, amount: float, now_s: float) -> float:
        """Count `amount`; return the seconds to wait before the next, 0 within the rate."""
        if self._proxies and is_in(address, self._proxies):
            return 0.0
        group = address_group(address)
        bucket = self._buckets.pop(group, None) or self._new_bucket()
        self._buckets[group] = bucket
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take(amount, now_s)

    def _new_bucket(self) -> TokenBucket:
        longest_wait_s = self._longest_wait_s
        return TokenBucket(self._rate_per_s, self._burst, longest_wait_s=longest_wait_s)


class WarningPaces:
    """Bounds the warnings about refused requests: of each address, and of all together."""

    def __init__(self) -> None:
        self._of_addresses = AddressPaces(_OF_ADDRESS_PER_S, _OF_ADDRESS_AT_ONCE)
        self._of_all = TokenBucket(_OF_ALL_PER_S, _OF_ALL_AT_ONCE)
        self._left_out = 0
        self._left_out_s = 0.0

    def may_warn(self, now_s: float, address: str = "") -> bool:
        """Count a warning; False if it has to be left out.

        address: whose bound counts too; "" for a warning that is rare for each address anyhow.
        """
        if address and self._of_addresses.take(address, 0, now_s) > 0:
            return False
        if self._of_all.take(0, now_s) > 0:
            self._left_out += 1
            self._left_out_s = now_s
            return False
        self._of_all.take(1, now_s)
        if address:
            self._of_addresses.take(address, 1, now_s)
        return True

    def left_out(self, now_s: float) -> int:
        """How many warnings a flood of many addresses has cost; once, when it is over, else 0."""
        if now_s - self._left_out_s < _QUIET_S:
            return 0
        count, self._left_out = self._left_out, 0
        return count
