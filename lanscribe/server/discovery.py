"""Announces this server on the network by multicast DNS (RFC 6762 and 6763)."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import ifaddr
import zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from lanscribe import __version__
from lanscribe.identity.adapters import every_address, is_unique_local, shared_networks
from lanscribe.identity.kept_name import KeptName
from lanscribe.identity.local_name import full_name
from lanscribe.identity.names import instance_name
from lanscribe.server.naming import Naming, hear_one_network
from lanscribe.tasks import end

log = logging.getLogger(__name__)

Networks = Sequence[Sequence[str]]
"""The addresses to announce, network by network."""
FindNetworks = Callable[[], Networks]
"""Finds the current addresses, as `announced_networks` does."""
LOOK_EVERY_S = 30.0
"""How often the machine's addresses are checked: a router may assign others."""
_LEAVING_S = 2.0
"""How long the withdrawal of the announcement may take."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of this machine."""

    kind: str
    """A DNS-SD service type, such as _wyoming._tcp."""
    port: int
    properties: Mapping[str, str] = field(default_factory=dict)


def services(
    http_port: int, secure_port: int | None, wyoming_port: int | None, auth_mode: str
) -> list[Service]:
    """The services to announce: the app looks for the first, Home Assistant for the second.

    A port is None where there is none.
    """
    tls = {} if secure_port is None else {"tls": str(secure_port)}
    ours = {"path": "/v1/realtime", **tls, "auth": auth_mode, "version": __version__}
    found = [Service("_lanscribe._tcp", http_port, ours)]
    if wyoming_port is not None:
        found.append(Service("_wyoming._tcp", wyoming_port))
    return found


def announced_networks(host: str, *, has_own_prefix: bool) -> Networks:
    """The addresses of a server that listens on `host`; :: is IPv4 and IPv6, 0.0.0.0 IPv4 only.

    has_own_prefix: whether peers with global IPv6 addresses may come in; without, those addresses
    are left out. Raises OSError when the system does not list its adapters.
    """
    if host not in {"0.0.0.0", "::"}:
        return [[host]] if _is_address(host) else []

    def counts(address: str) -> bool:
        return ":" not in address or (host == "::" and (has_own_prefix or is_unique_local(address)))

    found = shared_networks(ifaddr.get_adapters())
    kept = ([one for one in addresses if counts(one)] for addresses in found)
    return [addresses for addresses in kept if addresses]


class Announcement:
    """Announces services by multicast DNS, under a NAME.local that it finds, and follows changes.

    A failure is logged as one warning and tried again.
    """

    def __init__(
        self,
        offered: Sequence[Service],
        find_networks: FindNetworks,
        name: KeptName,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._offered, self._find_networks = offered, find_networks
        self._name, self._look_every_s = name, look_every_s
        self._is_ready, self._is_named = asyncio.Event(), asyncio.Event()
        self._label = ""

    def begin(self) -> None:
        """Announce from now on: the server is ready. The name is sought before."""
        self._is_ready.set()

    async def name(self, within_s: float) -> str:
        """The name that others can use, such as lanscribe.local; "" if there is none in time.

        Only after `begin`, for the services have to be announced too.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_named.wait()
        return full_name(self._label) if self._label else ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find a name, announce once `begin` was called, and withdraw all at the end."""
        announcing = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await end(announcing)

    async def _run(self) -> None:
        last_trouble = ""
        while True:
            networks: Networks = ()
            try:
                networks = self._find_networks()
                if not networks:
                    raise OSError("this machine has no address on a network")
                await self._announce(networks)
                last_trouble = ""
                log.info("the addresses of this machine have changed")
            except (OSError, zeroconf.Error, RuntimeError) as error:  # RuntimeError: one is gone
                self._label = ""
                self._is_named.set()  # there is none to wait for
                trouble = f"{type(error).__name__}: {error}" if networks else str(error)
                if trouble != last_trouble and self._is_ready.is_set():
                    log.warning("not announced: %s; clients need a URL", trouble)
                    last_trouble = trouble
                await asyncio.sleep(self._look_every_s)

    async def _announce(self, networks: Networks) -> None:
        """Announce on these networks until they change."""
        async with Naming(self._name.candidates, networks, _own_addresses) as naming:
            while True:
                label = await naming.find()
                await self._is_ready.wait()
                async with _responders(networks) as responders:
                    infos = [
                        (responder, _info(one, addresses, label))
                        for responder, addresses in zip(responders, networks, strict=True)
                        for one in self._offered
                    ]
                    self._take(label, networks)
                    await asyncio.gather(*(_register(*one, label) for one in infos))
                    naming.is_alone = False
                    if not await self._lost(naming, networks):
                        return
                naming.is_alone = True

    def _take(self, label: str, networks: Networks) -> None:
        if all(ip_address(one).is_loopback for addresses in networks for one in addresses):
            return  # nobody else hears it
        self._label = label
        self._is_named.set()

    def _keep(self, naming: Naming) -> None:
        """The name was held for one look: neither a moment's nor one of many that were lost."""
        naming.settle()
        if self._label:
            self._name.keep(self._label)

    async def _lost(self, naming: Naming, networks: Networks) -> bool:
        """Wait until another machine takes the name, or, and then False, the networks change."""
        losing = asyncio.create_task(naming.lost())
        is_kept = False
        try:
            while True:
                await asyncio.wait({losing}, timeout=self._look_every_s)
                if losing.done():
                    return True
                if not are_the_same(networks, self._find_networks()):
                    return False
                if not is_kept:
                    self._keep(naming)
                    is_kept = True
                naming.look()
        finally:
            await end(losing)


def are_the_same(announced: Networks, found: Networks) -> bool:
    """Whether the announced addresses are still correct; their order does not matter."""
    return set(map(frozenset, announced)) == set(map(frozenset, found))


def _own_addresses() -> frozenset[str]:
    return every_address(ifaddr.get_adapters())


@asynccontextmanager
async def _responders(networks: Networks) -> AsyncIterator[list[AsyncZeroconf]]:
    """A responder for each network; at the end they withdraw what they announced.

    Each knows the addresses on its network only: another network's would be useless there
    (RFC 6762, section 15).
    """
    async with AsyncExitStack() as leaving:
        responders = []
        for addresses in networks:
            responder = AsyncZeroconf(interfaces=list(addresses))
            leaving.push_async_callback(_leave, responder)
            await responder.zeroconf.async_wait_for_start()
            for reader in responder.zeroconf.engine.readers:
                hear_one_network(reader.sock, addresses)
            responders.append(responder)
        yield responders


async def _leave(responder: AsyncZeroconf) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEAVING_S):
            await responder.async_close()


async def _register(responder: AsyncZeroconf, info: AsyncServiceInfo, label: str) -> None:
    """Announce one service, under another name if its name is taken."""
    await (await responder.async_register_service(info, allow_name_change=True))
    told = ", ".join(info.parsed_addresses())
    log.info("announced %s at %s (%s), port %s", info.name, full_name(label), told, info.port)


def _info(service: Service, addresses: Sequence[str], label: str) -> AsyncServiceInfo:
    kind = f"{service.kind}.local."
    return AsyncServiceInfo(
        kind,
        f"{instance_name(socket.gethostname())}.{kind}",
        port=service.port,
        parsed_addresses=list(addresses),
        properties=dict(service.properties),
        server=f"{full_name(label)}.",
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
