"""Finds the servers of this network by multicast DNS (RFC 6763)."""

import queue
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from clients.address import (
    CA_FLAG,
    DEFAULT_PORTS,
    DISCOVER_FLAG,
    KEY_FLAG,
    KEY_VARIABLE,
    URL_FLAG,
    Server,
    realtime_url,
)
from clients.terminal import Trouble, plain

KIND = "_lanscribe._tcp.local."
SEARCH_S = 3.0
"""How long servers are looked for."""
OTHERS_S = 0.7
"""How long others are waited for once one has answered."""
LOOPBACK_S = 1.0
NO_ZEROCONF = (
    "finding servers needs the package zeroconf: pip install zeroconf, run this with uv,"
    f" or name the server with {URL_FLAG} ws://HOST:8000"
)


@dataclass(frozen=True)
class Found:
    """A server that announces itself."""

    name: str
    """The machine's name, such as lanscribe.local."""
    address: str
    port: int
    tls_port: int = 0
    """0 without TLS."""
    auth: str = ""
    """Who may come in: lan, key or open; "" if it does not say."""

    @property
    def url(self) -> str:
        """What to type after --url."""
        return f"ws://{bracketed(self.address)}:{self.port}"

    @property
    def secure_url(self) -> str:
        """The same with TLS."""
        return f"wss://{bracketed(self.address)}:{self.tls_port}"


def located(server: Server, *, discovers: bool) -> Server:
    """The server; one that is found if the person asks for that, or names none and none runs here.

    Exits with 2 if several are found. Raises Trouble if none is, or if it needs a key.
    """
    if server.named_by or (not discovers and is_running_here(server)):
        return server
    if not discovers:
        tell(f"nothing answers at {server.place}: looking for a server in this network")
    found = search()
    if not found:
        raise Trouble(nobody(server, discovers=discovers))
    if len(found) > 1:
        tell("several servers are in this network; name one:")
        for one in found:
            tell(f"  {URL_FLAG} {one.url}   ({one.name})")
        sys.exit(2)
    return named_by_itself(found[0], server, discovers=discovers)


def named_by_itself(found: Found, server: Server, *, discovers: bool) -> Server:
    """The one server that was found, with the key and the authority of the command line.

    The key goes to a server that nobody named only if TLS proves who that is. Raises Trouble.
    """
    is_proven = bool(server.headers and found.tls_port and server.context)
    url = found.secure_url if is_proven else found.url
    if found.auth == "key" and not server.headers:
        needs = f"{found.name} ({found.url}) needs a key: pass it with {KEY_FLAG} or in"
        raise Trouble(
            f"{needs} {KEY_VARIABLE}; on the server's machine, bash serve.sh key shows it"
        )
    sends_key = is_proven or discovers
    if server.headers and not sends_key and found.auth == "key":
        needs = (
            f"found {found.name}, which needs the key; it is sent only to a server that you name"
        )
        raise Trouble(f"{needs}: {URL_FLAG} {found.url}, or {DISCOVER_FLAG} with {CA_FLAG} FILE")
    tell(f"found {found.name}: {url}")
    headers = server.headers if sends_key else {}
    named_by = DISCOVER_FLAG if discovers else URL_FLAG
    return replace(server, url=realtime_url(url), headers=headers, named_by=named_by, has_port=True)


def nobody(server: Server, *, discovers: bool) -> str:
    """The line where no server is found."""
    why = "is serve.sh running, and is this machine in its network?"
    named = f"a network that blocks multicast needs {URL_FLAG} ws://HOST:{DEFAULT_PORTS['ws']}"
    if discovers:
        return f"{DISCOVER_FLAG}: no server answered within {SEARCH_S:g} s: {why} {named}"
    where = "Connection refused, and no server was found in this network"
    return f"{server.place}: {where}: {why} {named}"


def is_running_here(server: Server) -> bool:
    """Whether anything but a refusal comes from the address."""
    try:
        socket.create_connection((server.host, server.port), LOOPBACK_S).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # the connection itself tells what is wrong
    return True


def search() -> list[Found]:
    """The servers that answer, by name. Raises Trouble if this machine cannot look for any."""
    try:
        import zeroconf  # noqa: PLC0415  # only who looks for a server needs it
    except ImportError as error:
        raise Trouble(NO_ZEROCONF) from error
    try:
        with closing(zeroconf.Zeroconf()) as seeker:
            return collected(zeroconf, seeker)
    except OSError as error:
        why = f"cannot look for servers: {error.strerror or error}"
        raise Trouble(f"{why}; name one with {URL_FLAG} ws://HOST:8000") from error


def collected(zeroconf: Any, seeker: Any) -> list[Found]:
    """What answers until SEARCH_S is over, or for OTHERS_S after the first server."""
    names: queue.Queue[str] = queue.Queue()

    def note(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        names.put(name)

    browser = zeroconf.ServiceBrowser(seeker, KIND, handlers=[note])
    found: dict[str, Found] = {}
    ends_s = time.monotonic() + SEARCH_S
    networks = own_networks()
    while (left_s := ends_s - time.monotonic()) > 0:
        try:
            name = names.get(timeout=left_s)
        except queue.Empty:
            break
        info = seeker.get_service_info(KIND, name, timeout=1000 * left_s)
        if info and info.parsed_addresses():
            found[name] = found_by(info, networks)
            ends_s = min(ends_s, time.monotonic() + OTHERS_S)
    browser.cancel()
    return sorted(found.values(), key=lambda one: (one.name, one.address, one.port))


def found_by(info: Any, networks: Iterable[str]) -> Found:
    """A server by what it announces."""
    texts = {key: str(value or "") for key, value in info.decoded_properties.items()}
    tls = texts.get("tls", "")
    return Found(
        plain(str(info.server).rstrip(".")),
        nearest(info.parsed_scoped_addresses(), networks),
        info.port,
        int(tls) if tls.isascii() and tls.isdecimal() and int(tls) < 65_536 else 0,
        texts.get("auth", ""),
    )


def nearest(addresses: Sequence[str], networks: Iterable[str]) -> str:
    """The address that this machine most probably reaches: in a network of its own, then IPv4.

    networks: those of this machine, such as 192.168.1.0/24.
    """
    own = [ip_network(one) for one in networks]

    def distance(address: str) -> tuple[bool, bool]:
        parsed = ip_address(address.partition("%")[0])
        return not any(parsed in network for network in own), parsed.version == 6

    return min(addresses, key=distance)


def own_networks() -> list[str]:
    """The networks of this machine; zeroconf brings ifaddr with it."""
    import ifaddr  # noqa: PLC0415  # as zeroconf

    ips = [ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    pairs = [(ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip.network_prefix) for ip in ips]
    return [str(ip_network(f"{address}/{prefix}", strict=False)) for address, prefix in pairs]


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def tell(line: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(f"{line}\n")
