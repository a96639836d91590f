"""This machine's addresses by its routing table. Standard library only, for the doctor.

reachable.py has all that people are shown.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterable

TARGETS = ("198.51.100.1", "192.168.255.254", "10.255.255.254", "172.31.255.254")
"""One address on the way out (RFC 5737, never in use) and one in each private range."""
UNUSED_PORT = 9
ALL_ADDRESSES = ("0.0.0.0", "::")
"""To listen on every address: of IPv4, or of IPv4 and IPv6."""


def routed_addresses() -> list[str]:
    """IPv4 addresses of this machine, that of the default route first.

    Nothing is sent: connect() on a datagram socket only asks the routing table which source
    address it would use. A network without a route to TARGETS is not found.
    """
    return usable(filter(None, map(source_towards, TARGETS)))


def source_towards(target: str) -> str:
    """The IPv4 address from which this machine sends to `target`; "" without a route to it.

    It is one of the interface by which the answers to `target` leave. Nothing is sent.
    """
    address = ipaddress.ip_address(target)
    address = getattr(address, "ipv4_mapped", None) or address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), UNUSED_PORT))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def usable(addresses: Iterable[str | None]) -> list[str]:
    """The addresses that other machines can reach, each once, in order."""
    found = [
        address
        for address in addresses
        if address is not None
        and not ipaddress.ip_address(address).is_loopback
        and not ipaddress.ip_address(address).is_unspecified
    ]
    return list(dict.fromkeys(found))


def url_host(host: str) -> str:
    """A host as it is written in a URL: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def why_not_listening(
    host: str, port: int, error: Exception, flag: str, found: Iterable[str]
) -> str:
    """Why this machine cannot listen there, and what to do.

    flag: the one that names the port. found: the addresses of this machine.
    """
    hosts = f"{', '.join([*found, '127.0.0.1'])}, or 0.0.0.0 for all of them"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"--host {host}: no such address or name; expected one of this machine: {hosts}"
    match error.errno if isinstance(error, OSError) else None:
        case errno.EADDRNOTAVAIL:
            return f"--host {host}: not an address of this machine; it has {hosts}"
        case errno.EADDRINUSE:
            why = "another program listens there"
            remedy = f"end that, or choose another port with --{flag}"
        case errno.EACCES:
            why = "this user may not listen on that port"
            remedy = f"choose one from 1024 on with --{flag}"
        case _:
            why, remedy = str(error), f"choose another with --{flag} or --host"
    return f"cannot listen on {url_host(host)}:{port}: {why}; {remedy}"
