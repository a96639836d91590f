"""Announces a server on every network of a namespace, and prints what each one hears."""

import asyncio
import json
from functools import partial

from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo

from lanscribe.server.discovery import Service, announced, announced_addresses
from tests.server.test_discovery import browser, found
from tests.support import DEADLINE_S

KIND = "_lanscribe-test._tcp"


async def heard(address: str) -> list[str]:
    """The addresses that a client hears of on the network of this address of the machine."""
    async with browser(f"{KIND}.local.", address) as (seeker, changes):
        info: AsyncServiceInfo = await found(f"{KIND}.local.", 8000, seeker, changes)
        return sorted(info.parsed_addresses(IPVersion.All))


async def main() -> dict[str, list[str]]:
    """Announce once, and listen on every network."""
    ready = asyncio.Event()
    ready.set()
    find_addresses = partial(announced_addresses, "::")
    async with (
        asyncio.timeout(DEADLINE_S),
        announced([Service(KIND, 8000)], find_addresses, ready),
    ):
        return {address: await heard(address) for address in find_addresses()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))  # noqa: T201
