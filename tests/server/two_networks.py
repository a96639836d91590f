"""Announces a server on every network of a namespace, and prints what each one hears."""

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from lanscribe.identity.kept_name import KeptName
from lanscribe.server.discovery import Announcement, Service, announced_networks
from tests.server.test_discovery import Changes, browser, found
from tests.support import DEADLINE_S

KIND = "_lanscribe-test._tcp"


async def heard(seeker: AsyncZeroconf, changes: Changes) -> list[str]:
    """The addresses that a client hears of."""
    info: AsyncServiceInfo = await found(f"{KIND}.local.", 8000, seeker, changes)
    return sorted(info.parsed_addresses(IPVersion.All))


def networks() -> list[list[str]]:
    """The addresses of this namespace, network by network."""
    return list(map(list, announced_networks("::", has_own_prefix=False)))


async def main(state_dir: Path) -> dict[str, list[str]]:
    """Announce once, and listen on every network.

    The clients come first: until its socket is bound to an adapter, a client hears every network.
    """
    offered = [Service(KIND, 8000)]
    announcement = Announcement(offered, networks, KeptName(state_dir, "lanscribe"))
    async with asyncio.timeout(DEADLINE_S), AsyncExitStack() as clients:
        listening = {
            one: await clients.enter_async_context(browser(f"{KIND}.local.", one))
            for addresses in networks()
            for one in addresses
        }
        async with announcement.running():
            announcement.begin()
            return {one: await heard(*client) for one, client in listening.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(main(Path(folder)))))  # noqa: T201
