"""The networks of this machine that auth.networks may add to the home network."""

import ipaddress
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import ifaddr

from lanscribe.identity.adapters import CLASS_NET, shared_addresses

TAILNET = ipaddress.ip_network("100.64.0.0/10")
"""The addresses that Tailscale gives; providers with carrier-grade NAT have them too (RFC 6598)."""
_GLOBAL = ipaddress.ip_network("2000::/3")
"""Global unicast addresses (RFC 4291, section 2.5.4; IANA has given out no others)."""
_PREFIX_BITS = 64
_MAC_TUNNEL = "utun"


def tailnet_addresses(
    adapters: Iterable[ifaddr.Adapter], platform: str = sys.platform
) -> list[str]:
    """The addresses of this machine's own in its tailnet: those of Tailscale's adapter."""
    return [
        ip.ip
        for adapter in adapters
        if adapter.name.startswith("tailscale")
        or (platform == "darwin" and adapter.name.startswith(_MAC_TUNNEL))
        for ip in adapter.ips
        if isinstance(ip.ip, str) and ipaddress.ip_address(ip.ip) in TAILNET
    ]


def own_prefixes(
    adapters: Iterable[ifaddr.Adapter], class_net: Path = CLASS_NET
) -> list[ipaddress.IPv6Network]:
    """The IPv6 /64 of each global address on a network that is shared with other machines."""
    found = map(ipaddress.ip_address, shared_addresses(adapters, class_net))
    prefixes = [
        ipaddress.IPv6Network((int(address), _PREFIX_BITS), strict=False)
        for address in found
        if isinstance(address, ipaddress.IPv6Address) and address in _GLOBAL
    ]
    return list(dict.fromkeys(prefixes))


def at_hand() -> list[str]:
    """What auth.networks could name on this machine now.

    A prefix counts beside a private IPv4 address, as behind the router of a home: on a rented
    server, strangers may have addresses in the same /64.
    """
    adapters: Sequence[ifaddr.Adapter] = list(ifaddr.get_adapters())
    has_tailnet = bool(tailnet_addresses(adapters))
    has_prefix = bool(own_prefixes(filter(_has_private_address, adapters)))
    return [*["tailscale"] * has_tailnet, *["own-prefix"] * has_prefix]


def _has_private_address(adapter: ifaddr.Adapter) -> bool:
    found = [ipaddress.ip_address(ip.ip) for ip in adapter.ips if isinstance(ip.ip, str)]
    return any(address.is_private for address in found)
