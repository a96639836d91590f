"""The access rules: decisions without clock, socket or network."""

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from lanscribe.errors import AuthError

_OPENAI_KEY_PREFIX = "openai-insecure-api-key."
_IPV6_PREFIX_BITS = 64
"""The prefix of one home; a machine in it may use any number of its addresses (RFC 8981)."""

_HOST = re.compile(r"(?:\[([^]]+)\]|([^][:@/?#\\\s]+))(?::[0-9]{1,5})?", re.ASCII)
"""A Host header: an IPv6 address in brackets or any other name, with an optional port."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

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
    if not is_in(peer, _HOME_NETWORKS):
        raise AuthError(
            "not_allowed",
            f"{peer[:200]!r} is not an address of the home network; other addresses need the key"
            " while auth.mode is lan",
        )


def name_in(host: str) -> str:
    """The name or address in a Host header, in lower case; "" if it is not a Host header."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def check_host(host: str | None, hostnames: Iterable[str]) -> None:
    """Admit a Host header that a page of another site cannot produce by DNS rebinding.

    Admits addresses, localhost, names under .local, and `hostnames`, with or without the dot of a
    full name. Raises AuthError for any other name, and if the header is absent.
    """
    name = name_in(host or "")
    if not (_address(name) is not None or _is_own_name(name, hostnames)):
        raise AuthError(
            "not_allowed",
            f"got the Host header {(host or '')[:200]!r}; use the server's address, its own name"
            " or a .local name, add the name to auth.hostnames, or show the key",
        )


def check_origin(origin: str | None, own: Iterable[str]) -> None:
    """Admit programs, which send no Origin, and the pages of the origins in `own`.

    Raises AuthError for a page of another site.
    """
    if origin is not None and origin.lower() not in own:
        raise AuthError(
            "not_allowed",
            f"got the Origin {origin[:200]!r}; pages of other sites need the key, or their Origin"
            " in auth.origins",
        )


def own_origins(host: str | None, *, is_secure: bool) -> set[str]:
    """The origins of this server's own pages, by the Host of a request.

    is_secure: whether the request came over TLS. Over plain http, a page of https can only come
    through a proxy that ends TLS, because browsers block mixed content.
    """
    if not host:
        return set()
    schemes = ("https",) if is_secure else ("http", "https")
    return {f"{scheme}://{host}".lower() for scheme in schemes}


def _is_own_name(name: str, hostnames: Iterable[str]) -> bool:
    full = name.removesuffix(".")
    own = (hostname.lower().removesuffix(".") for hostname in hostnames)
    return bool(full) and (full == "localhost" or full.endswith(".local") or full in own)


def parsed_networks(texts: Iterable[str]) -> list[Network]:
    """Addresses and networks, as auth.proxies names them."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def client_address(
    peer: str, forwarded_for: Sequence[str], proxies: Sequence[Network]
) -> str | None:
    """The address of a request's sender; None if `peer` is a proxy that is not listed.

    forwarded_for: the X-Forwarded-For headers, which only proxies send. They count when `peer`
    is in one of `proxies`: the client is the last address in them that is not a proxy itself.
    """
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    if not hops:
        return peer
    if not is_in(peer, proxies):
        return None
    strangers = [hop for hop in hops if not is_in(hop, proxies)]
    return strangers[-1] if strangers else hops[0]


def offered_keys(
    headers: Mapping[str, str], query: Mapping[str, str], subprotocols: Sequence[str]
) -> list[str]:
    """Every key in a request, from all the usual places.

    headers: their names in lower case. subprotocols: where a browser's WebSocket sends the key.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    keys = [credentials.strip()] if scheme.lower() in {"bearer", "token"} else []
    keys += [headers.get("x-api-key", ""), query.get("api_key", "")]
    keys += [
        offer.removeprefix(_OPENAI_KEY_PREFIX)
        for offer in subprotocols
        if offer.startswith(_OPENAI_KEY_PREFIX)
    ]
    if list(subprotocols[:1]) == ["token"]:
        keys += subprotocols[1:2]
    return [key for key in keys if key]


def has_key(offered: Iterable[str], key: str | None) -> bool:
    """Whether one of `offered` is the key; each is compared in constant time."""
    if not key:
        return False
    return any(hmac.compare_digest(one.encode(), key.encode()) for one in offered)


def chosen_subprotocol(offered: Sequence[str]) -> str | None:
    """The subprotocol to answer with: one that carries no key.

    A browser that offers subprotocols fails the connection if the server chooses none (WHATWG
    WebSockets, section 3).
    """
    return next((offer for offer in offered if offer in {"realtime", "token"}), None)


def address_group(address: str) -> str:
    """The address that counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    parsed = _address(address)
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX_BITS), strict=False))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The parsed address, IPv4 if it is IPv4-mapped IPv6; None if `text` is not an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_in(text: str, networks: Iterable[Network]) -> bool:
    """Whether `text` is an address in one of the networks."""
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def is_loopback(text: str) -> bool:
    """Whether `text` is a loopback address, so that its sender is on this machine."""
    address = _address(text)
    return address is not None and address.is_loopback
