"""Serves https in a namespace whose addresses change meanwhile, and prints what clients saw."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from lanscribe.engines.fake import spoken
from lanscribe.identity.authority import CERTIFICATE_FILE
from tests.servers import Parts, ServerHere, start_here
from tests.support import DEADLINE_S, Client, Event, client, text_of

MODEL = "fake-numbers"
STAYS, COMES, GOES = "192.168.50.7", "10.9.8.7", "192.168.60.7"
LOOK_EVERY_S = 0.05
LAST_NUMBER = 60


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Home:
    """The server, and what a device that trusts it finds."""

    def __init__(self, folder: Path) -> None:
        tables: dict[str, dict[str, Any]] = {
            "server": {"host": "0.0.0.0", "state_dir": str(folder)},
            "tls": {"mode": "auto", "port": 0},
        }
        self.server: ServerHere = start_here(folder, Parts(look_every_s=LOOK_EVERY_S), tables)
        authority = folder / "tls" / CERTIFICATE_FILE
        self.trusting = ssl.create_default_context(cafile=authority)

    def url(self, address: str) -> str:
        return f"wss://{address}:{self.server.secure_port}/v1/realtime"

    async def shown(self) -> dict[str, Any]:
        """The certificate that a new connection sees."""
        at = (STAYS, self.server.secure_port)
        _, writer = await asyncio.open_connection(*at, ssl=self.trusting)
        found: dict[str, Any] = writer.get_extra_info("peercert")
        writer.transport.abort()
        return found

    async def until_shown(self, holds: Callable[[list[str]], bool]) -> str:
        """Wait until new connections see a certificate whose addresses fit; its serial number."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = await self.shown()
                if holds([value for _, value in found["subjectAltName"]]):
                    return str(found["serialNumber"])
                await asyncio.sleep(LOOK_EVERY_S)


async def heard(one: Client, events: list[Event], number: int) -> None:
    """Receive until the text has come as far as a number."""
    while str(number) not in text_of(events).split():
        events.append(await one.receive())


async def stay(home: Home) -> dict[str, Any]:
    """A session over an address that stays, while others come and go."""
    events: list[Event] = []
    serials = [str((await home.shown())["serialNumber"])]
    async with client(home.url(STAYS), MODEL, ssl=home.trusting) as one:
        await one.commit(final=False)
        await one.append(spoken(range(1, 20)))
        await heard(one, events, 10)
        ip("addr", "add", f"{COMES}/24", "dev", "lan50")
        serials.append(await home.until_shown(lambda names: COMES in names))
        await one.append(spoken(range(20, 40)))
        await heard(one, events, 30)
        ip("addr", "del", f"{COMES}/24", "dev", "lan50")
        serials.append(await home.until_shown(lambda names: COMES not in names))
        await one.append(spoken(range(40, LAST_NUMBER)))
        await one.commit(final=True)
        events += await one.until("transcription.done")
        own: ssl.SSLObject = one.connection.transport.get_extra_info("ssl_object")
        certificate = own.getpeercert()
        assert certificate is not None
        own_serial = str(certificate["serialNumber"])
    return {"text": text_of(events), "serials": serials, "own_serial": own_serial}


async def move(home: Home) -> dict[str, Any]:
    """A session whose own address vanishes, and that goes on over another one."""
    samples, events = spoken(range(1, LAST_NUMBER)), []
    half = len(samples) // 2
    async with connect(home.url(GOES), ssl=home.trusting, ping_interval=None) as connection:
        one = Client(connection)
        events.append(await one.receive())
        await one.send(type="session.update", model=MODEL, resume=True)
        await one.commit(final=False)
        await one.append(samples[:half])
        await heard(one, events, 10)
        ip("addr", "del", f"{GOES}/24", "dev", "lan60")
        ip("addr", "add", f"{COMES}/24", "dev", "lan60")
        await home.until_shown(lambda names: COMES in names and GOES not in names)
        connection.transport.abort()
    query = f"?resume={events[0]['resume']['token']}&seen={events[-1]['seq']}"
    async with connect(home.url(COMES) + query, ssl=home.trusting) as connection:
        one = Client(connection)
        greeting = await one.receive()
        await one.append(samples[greeting["received_samples"] :])
        await one.commit(final=True)
        events += await one.until("transcription.done")
    return {"text": text_of(events), "greeting": greeting["type"], "seqs": seqs(events)}


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events]


async def main(folder: Path) -> dict[str, Any]:
    """Both sessions, one after the other."""
    home = await asyncio.to_thread(Home, folder)
    try:
        return {"stay": await stay(home), "move": await move(home)}
    finally:
        await asyncio.to_thread(home.server.stop)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))  # noqa: T201
