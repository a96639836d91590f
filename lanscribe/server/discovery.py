"""Announces this server on the network by multicast DNS (RFC 6762 and 6763)."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import ifaddr
import zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from lanscribe import __version__
from lanscribe.identity.adapters import shared_addresses
from lanscribe.tasks import end

log = logging.getLogger(__name__)

FindAddresses = Callable[[], Sequence[str]]
"""Finds the current addresses, as `announced_addresses` does."""
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


def services(http_port: int, wyoming_port: int | None) -> list[Service]:
    """The services to announce: the app looks for the first, Home Assistant for the second."""
    ours = {"path": "/v1/realtime", "version": __version__}
    found = [Service("_lanscribe._tcp", http_port, ours)]
    if wyoming_port is not None:
        found.append(Service("_wyoming._tcp", wyoming_port))
    return found


def announced_addresses(host: str) -> list[str]:
    """The addresses of a server that listens on `host`; :: is IPv4 and IPv6, 0.0.0.0 IPv4 only.

    Raises OSError when the system does not list its adapters.
    """
    if host not in {"0.0.0.0", "::"}:
        return [address for address in [host] if _is_address(address)]
    found = shared_addresses(ifaddr.get_adapters())
    return [address for address in found if host == "::" or ":" not in address]


@asynccontextmanager
async def announced(
    offered: Sequence[Service],
    find_addresses: FindAddresses,
    ready: asyncio.Event,
    *,
    look_every_s: float = LOOK_EVERY_S,
) -> AsyncIterator[None]:
    """Announce services from the moment `ready` is set until the context ends.

    This runs in the background and follows changes of the machine's addresses. A failure is logged
    as one warning and tried again.
    """
    announcing = asyncio.create_task(_announce(offered, find_addresses, ready, look_every_s))
    try:
        yield
    finally:
        await end(announcing)


def are_the_same(announced: Sequence[str], found: Sequence[str]) -> bool:
    """Whether the announced addresses are still correct; their order does not matter."""
    return set(announced) == set(found)


async def _announce(
    offered: Sequence[Service],
    find_addresses: FindAddresses,
    ready: asyncio.Event,
    look_every_s: float,
) -> None:
    await ready.wait()
    last_trouble = ""
    while True:
        addresses: Sequence[str] = ()
        try:
            addresses = find_addresses()
            async with _registered(offered, addresses):
                last_trouble = ""
                await _until_changed(addresses, find_addresses, look_every_s)
            log.info("the addresses of this machine have changed")
        except (OSError, zeroconf.Error, RuntimeError) as error:  # RuntimeError: an address is gone
            trouble = str(error) if not addresses else f"{type(error).__name__}: {error}"
            if trouble != last_trouble:
                log.warning("not announced: %s; clients need a URL", trouble)
            last_trouble = trouble
            await asyncio.sleep(look_every_s)


async def _until_changed(
    announced: Sequence[str], find_addresses: FindAddresses, look_every_s: float
) -> None:
    """Return when the machine's addresses differ from the announced ones."""
    while True:
        await asyncio.sleep(look_every_s)
        if not are_the_same(announced, find_addresses()):
            return


@asynccontextmanager
async def _registered(offered: Sequence[Service], addresses: Sequence[str]) -> AsyncIterator[None]:
    """Announce services, and withdraw them at the end."""
    if not addresses:
        raise OSError("this machine has no address on a network")
    responder = AsyncZeroconf(interfaces=list(addresses))
    try:
        await asyncio.gather(*(_register(responder, _info(one, addresses)) for one in offered))
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_S):
                await responder.async_close()


async def _register(responder: AsyncZeroconf, info: AsyncServiceInfo) -> None:
    """Announce one service, under another name if its name is taken."""
    await (await responder.async_register_service(info, allow_name_change=True))
    addresses = ", ".join(info.parsed_addresses())
    log.info("announced %s at %s, port %s", info.name, addresses, info.port)


def _info(service: Service, addresses: Sequence[str]) -> AsyncServiceInfo:
    label = socket.gethostname().partition(".")[0]
    kind = f"{service.kind}.local."
    return AsyncServiceInfo(
        kind,
        f"lanscribe-{label}.{kind}",
        port=service.port,
        parsed_addresses=list(addresses),
        properties=dict(service.properties),
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
