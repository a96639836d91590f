"""The addresses of this machine on the networks that it shares with others."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

import ifaddr

CLASS_NET = Path("/sys/class/net")
"""Where Linux describes its network adapters; other systems have no such folder."""
_IFF_POINTOPOINT = 0x10
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")


def shared_networks(
    adapters: Iterable[ifaddr.Adapter], class_net: Path = CLASS_NET
) -> list[tuple[str, ...]]:
    """The IPv4 and IPv6 addresses that other machines can use, network by network.

    Two adapters in the same network are one. Leaves out loopback and unspecified addresses, and
    link-local IPv6, which means nothing without the reader's own adapter.
    """
    found: list[dict[str, object]] = []  # of each network: its addresses, each with its subnet
    for adapter in adapters:
        if not _is_shared(class_net / adapter.name):
            continue
        here = dict(_shared(adapter))
        same = [one for one in found if set(one.values()) & set(here.values())]
        found = [one for one in found if one not in same]
        merged = {address: subnet for one in [*same, here] for address, subnet in one.items()}
        found += [merged] if merged else []
    return [tuple(one) for one in found]


def shared_addresses(
    adapters: Iterable[ifaddr.Adapter], class_net: Path = CLASS_NET
) -> Iterator[str]:
    """The addresses of all `shared_networks`."""
    return chain.from_iterable(shared_networks(adapters, class_net))


def every_address(adapters: Iterable[ifaddr.Adapter]) -> frozenset[str]:
    """All addresses of this machine, also those that nobody else can use."""
    return frozenset(addresses_of(adapters))


def addresses_of(adapters: Iterable[ifaddr.Adapter]) -> Iterator[str]:
    """The same in the order of the adapters."""
    return (str(_address(ip)) for adapter in adapters for ip in adapter.ips)


def adapters_of(addresses: Collection[str]) -> list[ifaddr.Adapter]:
    """The adapters that have any of the addresses."""
    found = ifaddr.get_adapters()
    return [one for one in found if every_address([one]).intersection(addresses)]


def is_unique_local(address: str) -> bool:
    """Whether this is an IPv6 address of a home's own (RFC 4193)."""
    return ipaddress.ip_address(address) in _UNIQUE_LOCAL


def _shared(adapter: ifaddr.Adapter) -> Iterator[tuple[str, object]]:
    """The addresses of an adapter that others can use, each with its subnet."""
    for ip in adapter.ips:
        address = _address(ip)
        is_local = address.version == 6 and address.is_link_local
        if not (address.is_loopback or address.is_unspecified or is_local):
            subnet = ipaddress.ip_network(f"{address}/{ip.network_prefix}", strict=False)
            yield str(address), subnet


def _address(ip: ifaddr.IP) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])


def _is_shared(folder: Path) -> bool:
    """Whether other machines may be on the adapter's network.

    None are on a tunnel or on a bridge for this machine's containers or virtual machines. Docker
    uses the same addresses on every machine, so elsewhere such an address means another machine.
    """
    try:
        flags = int((folder / "flags").read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return True
    is_bridge = (folder / "bridge").is_dir()
    return not flags & _IFF_POINTOPOINT and (not is_bridge or _has_hardware(folder))


def _has_hardware(folder: Path) -> bool:
    """Whether the adapter has a device below it, directly or below a bond or a VLAN."""
    return (folder / "device").exists() or any(map(_has_hardware, folder.glob("lower_*")))
