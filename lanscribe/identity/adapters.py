"""The addresses of this machine on the networks that it shares with others."""

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

import ifaddr

CLASS_NET = Path("/sys/class/net")
"""Where Linux describes its network adapters; other systems have no such folder."""
_IFF_POINTOPOINT = 0x10


def shared_addresses(
    adapters: Iterable[ifaddr.Adapter], class_net: Path = CLASS_NET
) -> Iterator[str]:
    """The IPv4 and IPv6 addresses that other machines on the same network can use.

    Leaves out loopback and unspecified addresses, and link-local IPv6, which means nothing without
    the reader's own adapter.
    """
    for adapter in adapters:
        if not _is_shared(class_net / adapter.name):
            continue
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            is_local = address.version == 6 and address.is_link_local
            if not (address.is_loopback or address.is_unspecified or is_local):
                yield str(address)


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
