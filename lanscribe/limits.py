"""Who may come in, and how many: decisions without clock, socket or state of the network."""

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from lanscribe.errors import AuthError, LimitError

_HOME_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
]
"""Loopback, private and link-local addresses (RFC 1122, 1918, 3927, 4193, 4291)."""


def check_peer_is_home(peer: str) -> None:
    """Admit addresses of the home network. Raises AuthError for any other."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError as error:
        raise AuthError("not_allowed", f"got the peer address {peer!r}, which is none") from error
    mapped = getattr(address, "ipv4_mapped", None)
    if not any((mapped or address) in network for network in _HOME_NETWORKS):
        raise AuthError(
            "not_allowed",
            f"{peer} is not an address of the home network; only loopback, private and link-local"
            " addresses may come in while auth.mode is lan",
        )


def check_host(host: str | None, hostnames: Sequence[str]) -> None:
    """Admit a Host header that a page elsewhere cannot have pointed here (DNS rebinding).

    That is an address, localhost, a name under .local, or one of `hostnames`.
    Raises AuthError for any other, and when there is none.
    """
    name = _split(f"//{host or ''}").hostname or ""
    if not (_is_address(name) or _is_own_name(name, hostnames)):
        raise AuthError(
            "not_allowed",
            f"got the Host header {(host or '')[:200]!r}; use the server's address or a .local"
            " name, or add the name to auth.hostnames",
        )


def check_origin(origin: str | None, host: str | None) -> None:
    """Admit programs, which send no Origin, and pages of this server itself.

    Raises AuthError for a page from elsewhere.
    """
    if origin is not None and _split(origin).netloc != host:
        raise AuthError(
            "not_allowed",
            f"got the Origin {origin[:200]!r}; pages of other sites may not use this server while"
            " auth.mode is lan",
        )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a malformed address in brackets
        return urlsplit("")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own_name(name: str, hostnames: Sequence[str]) -> bool:
    own = {"localhost", *(hostname.lower() for hostname in hostnames)}
    return name in own or name.endswith(".local")


class Slots:
    """Counts running sessions against what the machine holds."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot. Raises LimitError when none is free."""
        if self.taken >= self.capacity:
            raise LimitError(
                "server_busy",
                f"{self.taken} sessions run, as many as this machine holds in real time; try again"
                " later",
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
