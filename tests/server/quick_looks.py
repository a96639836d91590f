"""Announces a server that looks several times a second: quick_looks.py STATE_DIR"""

import asyncio
import logging
import sys
from functools import partial
from pathlib import Path

from lanscribe.identity.kept_name import KeptName
from lanscribe.server.discovery import Announcement, announced_networks, services


async def main(state_dir: Path) -> None:
    """Announce until a signal."""
    find_networks = partial(announced_networks, "0.0.0.0", has_own_prefix=False)
    offered = services(8000, None, None, "lan")
    name = KeptName(state_dir, "lanscribe")
    announcement = Announcement(offered, find_networks, name, look_every_s=0.2)
    async with announcement.running():
        announcement.begin()
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(message)s")
    asyncio.run(main(Path(sys.argv[1])))
