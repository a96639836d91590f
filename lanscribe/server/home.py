"""The home rule: which addresses and Hosts are those of the home network, for every protocol."""

import ipaddress
import time
from collections.abc import Callable, Collection, Iterable

import ifaddr

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError
from lanscribe.identity.home_networks import (
    TAILNET,
    own_prefixes,
    tailnet_addresses,
)
from lanscribe.identity.network import source_towards
from lanscribe.identity.surroundings import machine_names
from lanscribe.identity.tailscale import TailnetName
from lanscribe.server.access import check_host, check_peer_is_home, is_in

LOOK_EVERY_S = 5.0
"""Names and networks are looked up again when they are older, and somebody comes who needs them."""


class Home:
    """Who counts as part of the home network."""

    def __init__(
        self,
        auth: AuthSettings,
        find_names: Callable[[], Collection[str]] = machine_names,
        find_adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
        clock: Callable[[], float] = time.monotonic,
        find_source: Callable[[str], str] = source_towards,
        *,
        certified: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """clock: seconds since any moment. find_source: as `source_towards`.

        certified: the names in a certificate of the owner's, which the owner has given to this box.
        """
        self._certified = certified
        self._hostnames = auth.hostnames
        self._networks = auth.networks
        self._find_names = find_names
        self._find_adapters = find_adapters
        self._clock = clock
        self._find_source = find_source
        self._names_s = self._adapters_s = -LOOK_EVERY_S
        self._names: Collection[str] = ()
        self._tailnet_addresses: list[str] = []
        self._prefixes: list[ipaddress.IPv6Network] = []
        self._tailnet_name = TailnetName()
        self._tailnet_name.names()

    def check_peer(self, peer: str, local: str = "") -> None:
        """Admit addresses of the home network. Raises AuthError for any other.

        local: the address of this machine that the peer has connected to; "" for a client behind
        a proxy, which is in none of the networks that auth.networks adds.
        """
        if not (local and self._networks and self._is_in_added_network(peer, local)):
            check_peer_is_home(peer)

    def check_host(self, host: str | None) -> None:
        """Admit a Host header that is one of the machine's names. Raises AuthError."""
        try:
            known = (*self._hostnames, *self._certified())
            check_host(host, known)  # without a look at the network
        except AuthError:
            check_host(host, self._own_names())

    def _is_in_added_network(self, peer: str, local: str) -> bool:
        if "tailscale" in self._networks and is_in(peer, [TAILNET]):
            return self._is_in_tailnet(peer, local)
        if "own-prefix" in self._networks and ":" in peer:
            self._look_at_adapters()
            return is_in(peer, self._prefixes)
        return False

    def _is_in_tailnet(self, peer: str, local: str) -> bool:
        """Whether a peer with an address like the tailnet's is connected through Tailscale.

        Anybody may send packets to that address by another interface. But the connection stands, so
        the answers have reached the peer: the interface by which they leave is the one that counts.
        """
        self._look_at_adapters()
        own = [ipaddress.ip_network(address) for address in self._tailnet_addresses]
        return is_in(local, own) and is_in(self._find_source(peer), own)

    def _look_at_adapters(self) -> None:
        now_s = self._clock()
        if now_s - self._adapters_s >= LOOK_EVERY_S:
            self._adapters_s = now_s
            adapters = list(self._find_adapters())
            self._tailnet_addresses = tailnet_addresses(adapters)
            self._prefixes = own_prefixes(adapters)

    def _own_names(self) -> Collection[str]:
        now_s = self._clock()
        if now_s - self._names_s >= LOOK_EVERY_S:
            self._names_s = now_s
            self._names = self._find_names()
        return (*self._names, *self._tailnet_name.names())
