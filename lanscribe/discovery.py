"""Tells the network by multicast DNS where this server is (RFC 6762 and 6763)."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from lanscribe import __version__, network
from lanscribe.tasks import end

log = logging.getLogger(__name__)

_LEAVING_S = 2.0
"""How long taking leave of the network may take."""


@dataclass(frozen=True, slots=True)
class Service:
    """Something that this machine serves."""

    kind: str
    """A DNS-SD service type, such as _wyoming._tcp."""
    port: int
    properties: Mapping[str, str] = field(default_factory=dict)


def services(http_port: int, wyoming_port: int | None) -> list[Service]:
    """What there is to announce: the app looks for the first, Home Assistant for the second."""
    ours = {"path": "/v1/realtime", "version": __version__}
    found = [Service("_lanscribe._tcp", http_port, ours)]
    if wyoming_port is not None:
        found.append(Service("_wyoming._tcp", wyoming_port))
    return found


def announced_addresses(host: str) -> list[str]:
    """Under which addresses a server that listens on `host` is to be found."""
    if host not in {"0.0.0.0", "::"}:
        return [address for address in [host] if _is_address(address)]
    return [address for address in network.lan_addresses() if _is_address(address)]


@asynccontextmanager
async def announced(
    offered: Sequence[Service], addresses: Sequence[str], ready: asyncio.Event
) -> AsyncIterator[None]:
    """Announce services from the moment `ready` is set until this ends.

    It goes on in the background. A network that does not take it is one warning.
    """
    announcing = asyncio.create_task(_announce(offered, addresses, ready))
    try:
        yield
    finally:
        await end(announcing)


async def _announce(
    offered: Sequence[Service], addresses: Sequence[str], ready: asyncio.Event
) -> None:
    await ready.wait()
    if not addresses:
        log.warning("not announced: this machine has no address on a network; clients need a URL")
        return
    try:
        await _announce_until_cancelled(offered, addresses)
    except (OSError, zeroconf.Error, RuntimeError) as error:  # the last: an address is gone
        log.warning("not announced: %s: %s; clients need a URL", type(error).__name__, str(error))


async def _announce_until_cancelled(offered: Sequence[Service], addresses: Sequence[str]) -> None:
    responder = AsyncZeroconf(interfaces=list(addresses))
    try:
        await asyncio.gather(*(_register(responder, _info(one, addresses)) for one in offered))
        await asyncio.Event().wait()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_S):
                await responder.async_close()


async def _register(responder: AsyncZeroconf, info: AsyncServiceInfo) -> None:
    """Announce it, under another name if this one is taken."""
    await (await responder.async_register_service(info, allow_name_change=True))
    log.info("announced %s on port %s", info.name, info.port)


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
