"""Under which addresses and names other devices reach this server, as people are shown them."""

import ipaddress
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import ifaddr

from lanscribe.config import Settings
from lanscribe.identity.adapters import is_unique_local, shared_addresses
from lanscribe.identity.home_networks import TAILNET, tailnet_addresses
from lanscribe.identity.kept_name import KeptName
from lanscribe.identity.local_name import belongs, full_name
from lanscribe.identity.names import label_of
from lanscribe.identity.network import ALL_ADDRESSES, routed_addresses

AVAHI_SOCKET = Path("/run/avahi-daemon/socket")
NETWORKD_LINKS = Path("/run/systemd/netif/links")
"""What systemd-networkd tells systemd-resolved of each adapter; MDNS=yes: it answers there."""


def shown(host: str, settings: Settings, local_name: str | None = None) -> list[str]:
    """Addresses, then names, the best first, of a server that listens on `host`.

    local_name: by which the server is found now, such as lanscribe.local, "" if by none; None: the
    one that it kept. Nothing is sent.
    """
    if host not in ALL_ADDRESSES:
        return [host]
    kept = KeptName.of(settings).name if settings.discovery.enabled else ""
    own = kept if local_name is None else local_name
    return [*addresses(host), *names(own, socket.gethostname(), settings.discovery.name)]


def addresses(host: str) -> list[str]:
    """The addresses of this machine at which a server that listens on `host` is reached."""
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:
        return routed_addresses()
    found = [*shared_addresses(adapters), *tailnet_addresses(adapters)]
    return in_order(host, routed_addresses(), found)


def in_order(host: str, routed: Iterable[str], found: Sequence[str]) -> list[str]:
    """Each address once: that of the default route, private IPv4, other IPv4, then IPv6.

    Of IPv6, which needs the host ::, those of the home's own (RFC 4193), or, if nothing else is
    left, global ones. routed, found: by the routing table, and of the adapters.
    """
    by_rank = sorted((one for one in found if ":" not in one), key=_rank)
    own = [one for one in found if ":" in one and is_unique_local(one)]
    ipv6 = own if host == "::" else []
    first = list(dict.fromkeys([*routed, *by_rank, *ipv6]))
    return first or ([one for one in found if ":" in one] if host == "::" else [])


def names(own: str, hostname: str, wanted: str) -> list[str]:
    """The names in multicast DNS: the server's own, and the machine's if a program answers it.

    own: "" if it has none. wanted: discovery.name; the machine's name is left out if it is that,
    which another box may have.
    """
    label = label_of(hostname)
    is_taken = bool(own) and belongs(label, wanted)
    machine = [full_name(label)] if label and not is_taken and has_responder() else []
    return list(dict.fromkeys([*([own] if own else []), *machine]))


def has_responder(
    avahi: Path = AVAHI_SOCKET, links: Path = NETWORKD_LINKS, platform: str = sys.platform
) -> bool:
    """Whether a program of this system answers for HOST.local."""
    return platform == "darwin" or avahi.exists() or any(map(_answers, links.glob("*")))


def lacks_ipv4(host: str) -> bool:
    """Whether a server on `host` is not reached, because this machine has IPv6 addresses only."""
    return host == "0.0.0.0" and not addresses(host) and bool(addresses("::"))


def _rank(address: str) -> int:
    ip = ipaddress.ip_address(address)
    if ip.is_link_local:
        return 3
    if ip in TAILNET:
        return 2
    return 0 if ip.is_private else 1


def _answers(link: Path) -> bool:
    try:
        return "MDNS=yes" in link.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
