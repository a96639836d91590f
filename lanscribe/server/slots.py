"""Limits the sessions that run at a time, in all and per address: decisions without a clock."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lanscribe.errors import LimitError
from lanscribe.server.access import address_group, is_loopback

LEAST_OF_AN_ADDRESS = 2
"""The least share of an address, in everything that has a share per address."""
LEAVING_S = 0.5
"""How long a new client waits for a slot that is being released."""


class Slots:
    """Counts running sessions against the machine's capacity and the share of one address."""

    def __init__(self, capacity: int, per_address: int = 0) -> None:
        """per_address: how many sessions one address may have; 0: half of capacity, at least 2."""
        self.capacity = capacity
        self.taken = 0
        self._per_address = per_address or max(LEAST_OF_AN_ADDRESS, capacity // 2)
        self._of_address: Counter[str] = Counter()

    def has_room(self, address: str) -> bool:
        """Whether `take` would succeed."""
        return self.taken < self.capacity and not self.has_its_share(address)

    def has_its_share(self, address: str) -> bool:
        """Whether an address has as many sessions as it may have."""
        count = self._of_address[address_group(address)]
        return not is_loopback(address) and count >= self._per_address

    @contextmanager
    def take(self, address: str = "127.0.0.1") -> Iterator[None]:
        """Hold a slot. Raises LimitError when none is free, or none for this address.

        Programs on this machine, which may serve many people, share all slots.
        """
        if self.taken >= self.capacity:
            raise LimitError(
                "server_busy",
                f"{self.taken} sessions run, the most that this machine can serve in real time;"
                " try again later",
            )
        group = address_group(address)
        if self.has_its_share(address):
            raise LimitError(
                "server_busy",
                f"{self._of_address[group]} sessions of {address} run, the most that one address"
                " may have (limits.sessions_per_address); end one of them",
            )
        self.taken += 1
        self._of_address[group] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._of_address[group] -= 1
            self._of_address += Counter()  # removes the addresses whose count is zero
