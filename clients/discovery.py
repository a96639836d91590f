"""Finds the servers of this network by multicast DNS (RFC 6763)."""

import asyncio
import re
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from clients.address import (
    CA_FLAG,
    DEFAULT_PORTS,
    DISCOVER_FLAG,
    KEY_FLAG,
    KEY_VARIABLE,
    SHARED_ADDRESSES,
    URL_FLAG,
    Server,
    bracketed,
    realtime_url,
    without_authority,
)
from clients.terminal import Trouble, plain

KIND = "_lanscribe._tcp.local."
SEARCH_S = 3.0
"""How long servers are looked for."""
OTHERS_S = 0.7
"""How long others are waited for once one has answered."""
MOST_NAMES = 64
"""How many names are asked for their address and port; anybody can announce any number."""
HOME_NETWORKS = (
    *map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")),
    *map(ip_network, ("fc00::/7", "fe80::/10")),
    SHARED_ADDRESSES,
)
"""Where a server of this network can be, besides the networks of this machine."""
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

    def url_for(self, server: Server) -> str:
        """What to type for a client that trusts one authority, or any."""
        return self.secure_url if server.context else self.url


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
    fit = [one for one in found if one.tls_port] if server.context else found
    if not fit:
        raise Trouble(no_tls(found[0], server))
    if len(fit) > 1:
        tell("several servers are in this network; name one:")
        for one in fit:
            tell(f"  {URL_FLAG} {one.url_for(server)}   ({one.name})")
        sys.exit(2)
    return named_by_itself(fit[0], server, discovers=discovers)


def named_by_itself(found: Found, server: Server, *, discovers: bool) -> Server:
    """The one server that was found, with the key and the authority of the command line.

    The key goes to a server that nobody named only if TLS proves who that is, or if the person
    asks for a search. Raises Trouble.
    """
    url = found.url_for(server)
    if found.auth == "key" and not server.headers:
        needs = f"{found.name} ({url}) needs a key: pass it with {KEY_FLAG} or in"
        raise Trouble(
            f"{needs} {KEY_VARIABLE}; on the server's machine, bash serve.sh key shows it"
        )
    sends_key = server.context is not None or discovers
    if server.headers and not sends_key and found.auth == "key":
        needs = (
            f"found {found.name}, which needs the key; it is sent only to a server that you name"
        )
        raise Trouble(f"{needs}: {URL_FLAG} {url}, or {DISCOVER_FLAG} with {CA_FLAG} FILE")
    tell(f"found {found.name}: {url}")
    headers = server.headers if sends_key else {}
    named_by = DISCOVER_FLAG if discovers else URL_FLAG
    return replace(server, url=realtime_url(url), headers=headers, named_by=named_by, has_port=True)


def no_tls(found: Found, server: Server) -> str:
    """The line where no server that is found has TLS, and the person names an authority."""
    what = f"found {found.name} ({found.url}), which announces no TLS"
    why = f"with {server.ca_by} only wss:// is used, so nothing was sent"
    turn_on = f"give that server a certificate, or {without_authority(server.ca_by)}"
    return f"{what}; {why}: {turn_on}"


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
        import zeroconf.asyncio  # noqa: PLC0415  # only who looks for a server needs it
    except ImportError as error:
        raise Trouble(NO_ZEROCONF) from error
    try:
        return asyncio.run(collected(zeroconf))
    except OSError as error:
        why = f"cannot look for servers: {error.strerror or error}"
        raise Trouble(f"{why}; name one with {URL_FLAG} ws://HOST:8000") from error


async def collected(zeroconf: Any) -> list[Found]:
    """What answers until SEARCH_S is over, or for OTHERS_S after the first server."""
    # zeroconf logs a traceback when it sends on some names that others announce
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with zeroconf.asyncio.AsyncZeroconf() as seeker:
        answers = Answers(zeroconf, seeker.zeroconf, own_networks())
        services = zeroconf.asyncio.AsyncServiceBrowser
        browser = services(seeker.zeroconf, KIND, handlers=[answers.note])
        await answers.wait()
        await browser.async_cancel()
    return sorted(answers.found.values(), key=lambda one: (one.name, one.address, one.port))


class Answers:
    """Asks all names that are announced for their address and port, at the same time."""

    def __init__(self, zeroconf: Any, seeker: Any, networks: Iterable[str]) -> None:
        """networks: those of this machine, such as 192.168.1.0/24."""
        self.found: dict[str, Found] = {}
        self._zeroconf, self._seeker, self._networks = zeroconf, seeker, list(networks)
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._deadline = asyncio.timeout(SEARCH_S)

    def note(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """Ask a name, unless it was asked before, too many were, or it cannot be one."""
        if name in self._questions or len(self._questions) >= MOST_NAMES:
            return
        with suppress(self._zeroconf.Error, ValueError):
            info = self._zeroconf.asyncio.AsyncServiceInfo(KIND, name)
            self._questions[name] = asyncio.create_task(self._ask(name, info))

    async def wait(self) -> None:
        """Until SEARCH_S is over, or for OTHERS_S after the first server."""
        with suppress(TimeoutError):
            async with self._deadline:
                await asyncio.Event().wait()
        for question in self._questions.values():
            question.cancel()
        await asyncio.gather(*self._questions.values(), return_exceptions=True)

    async def _ask(self, name: str, info: Any) -> None:
        with suppress(self._zeroconf.Error, ValueError):
            is_answered = await info.async_request(self._seeker, 1000 * SEARCH_S)
            one = found_by(info, self._networks) if is_answered else None
            if one and not self.found:
                ends_s = asyncio.get_running_loop().time() + OTHERS_S
                self._deadline.reschedule(min(ends_s, self._deadline.when() or ends_s))
            if one:
                self.found[name] = one


def found_by(info: Any, networks: Sequence[str]) -> Found | None:
    """A server by what it announces; None if no client of this network can use it.

    Raises ValueError if it is no announcement at all.
    """
    texts = {key: str(value or "") for key, value in info.decoded_properties.items()}
    name = " ".join(plain(str(info.server or "").rstrip(".")).split())
    addresses = [one for one in info.parsed_scoped_addresses() if is_near(one, networks)]
    if not name or not addresses or not 0 < (info.port or 0) < 65_536:
        return None
    tls = texts.get("tls", "")
    return Found(
        name,
        nearest(addresses, networks),
        info.port,
        int(tls) if re.fullmatch("[0-9]{1,5}", tls) and int(tls) < 65_536 else 0,
        texts.get("auth", ""),
    )


def is_near(address: str, networks: Iterable[str]) -> bool:
    """Whether a server of this network can have the address, which may end with %SCOPE."""
    parsed = ip_address(address.partition("%")[0])
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_loopback:
        return False
    own = [ip_network(one) for one in networks]
    return any(parsed in network for network in (*HOME_NETWORKS, *own))


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


def tell(line: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(f"{line}\n")
