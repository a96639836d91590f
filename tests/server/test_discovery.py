import asyncio
import gc
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import ifaddr
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zeroconf import IPVersion, ServiceStateChange, Zeroconf, const
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf._services.info import AddressResolver  # at its top without types
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from lanscribe import PROJECT_DIR, __version__
from lanscribe.identity.kept_name import FILE_NAME, KeptName
from lanscribe.identity.names import instance_name
from lanscribe.server import discovery
from lanscribe.server.discovery import (
    Announcement,
    Service,
    announced_networks,
    are_the_same,
    services,
)
from lanscribe.server.naming import hear_one_network
from tests.servers import StartServer
from tests.support import DEADLINE_S

LOOPBACK = "127.0.0.1"
NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount", "bash", "-euc"]
TWO_NETWORKS = """
mount -t sysfs none /sys
ip link set lo up
for number in 50 60; do
  ip link add lan$number type veth peer name far$number
  ip link set far$number up
  ip link set lan$number up
  ip addr add 192.168.$number.7/24 dev lan$number
  ip addr add fd$number::7/64 dev lan$number nodad
done
ip link add docker0 type bridge
ip link set docker0 up
ip addr add 172.17.0.1/16 dev docker0
"""
WYOMING = Service("_wyoming._tcp", 1)
HOME = [["192.168.1.7"]]
Changes = asyncio.Queue[tuple[str, ServiceStateChange]]


@asynccontextmanager
async def browser(
    kind: str, address: str = LOOPBACK
) -> AsyncIterator[tuple[AsyncZeroconf, Changes]]:
    """What comes and goes of a service type on the network of an address of this machine."""
    changes: Changes = asyncio.Queue()

    def note(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        changes.put_nowait((name, state_change))

    async with AsyncZeroconf(interfaces=[address]) as seeker:
        await seeker.zeroconf.async_wait_for_start()
        for reader in seeker.zeroconf.engine.readers:
            hear_one_network(reader.sock, [address])
        search = AsyncServiceBrowser(seeker.zeroconf, kind, handlers=[note])
        yield seeker, changes
        await search.async_cancel()


async def found(kind: str, port: int, seeker: AsyncZeroconf, changes: Changes) -> AsyncServiceInfo:
    """The service with that port, which no other server of this machine has."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            name, state = await changes.get()
            if state is ServiceStateChange.Removed:
                continue
            info = AsyncServiceInfo(kind, name)
            if await info.async_request(seeker.zeroconf, 3000) and info.port == port:
                return info


async def removed(name: str, changes: Changes) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await changes.get() != (name, ServiceStateChange.Removed):
            pass


def test_a_server_is_found_until_it_stops(start_server: StartServer) -> None:
    server = start_server("fake", LANSCRIBE_DISCOVERY_ENABLED="true")
    ports = {
        "_wyoming._tcp.local.": server.wyoming_port,
        "_lanscribe._tcp.local.": server.port,
    }

    async def look() -> None:
        async with (
            browser("_wyoming._tcp.local.") as homes,
            browser("_lanscribe._tcp.local.") as apps,
        ):
            searches = dict(zip(ports, (homes, apps), strict=True))
            infos = {kind: await found(kind, port, *searches[kind]) for kind, port in ports.items()}
            for info in infos.values():
                assert info.parsed_addresses(IPVersion.V4Only) == [LOOPBACK]
            app = infos["_lanscribe._tcp.local."].decoded_properties
            assert app == {"path": "/v1/realtime", "auth": "lan", "version": __version__}
            assert {info.server for info in infos.values()} == {"lanscribe.local."}
            assert await asyncio.to_thread(server.stop) == 0
            for kind, info in infos.items():
                await removed(info.name, searches[kind][1])

    asyncio.run(look())
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_the_name_has_its_addresses_before_the_server_is_ready(tmp_path: Path) -> None:
    """A model may load for minutes, while /health and the pages answer."""

    async def ask() -> tuple[list[str], list[str]]:
        kept = KeptName(tmp_path, "early-box")
        announcement = Announcement([WYOMING], lambda: [[LOOPBACK]], kept)
        async with AsyncZeroconf(interfaces=[LOOPBACK]) as seeker, announcement.running():
            resolver = AddressResolver("early-box.local.")
            async with asyncio.timeout(DEADLINE_S):
                while not await resolver.async_request(seeker.zeroconf, 500):
                    pass
            before = resolver.parsed_addresses()
            announcement.begin()
            async with browser("_wyoming._tcp.local.") as (_, changes):
                info = await found("_wyoming._tcp.local.", 1, seeker, changes)
            return before, info.parsed_addresses()

    assert asyncio.run(ask()) == ([LOOPBACK], [LOOPBACK])


def test_nothing_is_announced_before_the_server_is_ready(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Without an address, for then even the beginning of it is a warning."""

    async def end_early() -> None:
        announcement = Announcement([WYOMING], list, KeptName(tmp_path, "lanscribe"))
        async with announcement.running():
            assert await announcement.name(DEADLINE_S) == ""

    asyncio.run(end_early())
    assert not caplog.records


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("addresses", [[], ["203.0.113.9"]], ids=["none", "not ours"])
def test_without_a_network_there_is_one_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, addresses: list[str]
) -> None:
    looks = 0

    async def announce() -> None:
        looked_often = asyncio.Event()

        def find_networks() -> list[list[str]]:
            nonlocal looks
            looks += 1
            if looks == 3:
                looked_often.set()
            return [addresses] if addresses else []

        name = KeptName(tmp_path, "lanscribe")
        announcement = Announcement([WYOMING], find_networks, name, look_every_s=0)
        async with announcement.running():
            announcement.begin()
            await asyncio.wait_for(looked_often.wait(), DEADLINE_S)

    asyncio.run(announce())
    gc.collect()  # zeroconf leaves a socket behind when it cannot have another
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.getMessage().startswith("not announced: ")


@pytest.mark.slow
def test_an_address_that_comes_and_one_that_changes_are_announced(tmp_path: Path) -> None:
    kind, others = "_lanscribe-test._tcp.local.", "127.0.0.2"
    addresses: list[str] = []

    async def move() -> None:
        announcement = Announcement(
            [Service("_lanscribe-test._tcp", 8000)],
            lambda: [list(addresses)] if addresses else [],
            KeptName(tmp_path, "lanscribe"),
            look_every_s=0.01,
        )
        async with browser(kind) as (seeker, changes), announcement.running():
            announcement.begin()
            addresses.append(LOOPBACK)
            info = await found(kind, 8000, seeker, changes)
            assert info.parsed_addresses(IPVersion.V4Only) == [LOOPBACK]
            addresses[:] = [others]
            await removed(info.name, changes)
            info = await found(kind, 8000, seeker, changes)
            assert info.parsed_addresses(IPVersion.V4Only) == [others]

    asyncio.run(move())


@pytest.mark.parametrize(
    ("found", "is_same"),
    [
        ([["192.168.1.7", "fd00::7"], ["10.0.0.2"]], True),
        ([["10.0.0.2"], ["fd00::7", "192.168.1.7"]], True),
        ([["192.168.1.7", "fd00::7"]], False),
        ([["192.168.1.8", "fd00::7"], ["10.0.0.2"]], False),
        ([["192.168.1.7"], ["fd00::7", "10.0.0.2"]], False),
        ([], False),
    ],
)
def test_what_counts_as_a_change(found: list[list[str]], is_same: bool) -> None:
    assert are_the_same([["192.168.1.7", "fd00::7"], ["10.0.0.2"]], found) is is_same


class ScriptedNaming:
    """Loses the name so often, then keeps it."""

    losses = 0

    def __init__(self, *_: object) -> None:
        self.is_alone = True
        self.is_settled = asyncio.Event()
        self._found = 0

    async def __aenter__(self) -> "ScriptedNaming":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def find(self) -> str:
        self._found += 1
        return f"lanscribe-{self._found + 1}"

    async def lost(self) -> None:
        if self._found > self.losses:
            await asyncio.Event().wait()

    def look(self) -> None:
        pass

    def settle(self) -> None:
        self.is_settled.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedNaming]:
    """The namings of an announcement that sends nothing."""
    made: list[ScriptedNaming] = []

    def make(*_: object) -> ScriptedNaming:
        made.append(ScriptedNaming())
        return made[-1]

    @asynccontextmanager
    async def silent(networks: list[list[str]]) -> AsyncIterator[list[None]]:
        yield [None for _ in networks]

    monkeypatch.setattr(discovery, "Naming", make)
    monkeypatch.setattr(discovery, "_responders", silent)
    return made


def test_a_name_that_is_lost_at_once_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, names: list[ScriptedNaming], tmp_path: Path
) -> None:
    monkeypatch.setattr(ScriptedNaming, "losses", 3)
    KeptName(tmp_path, "lanscribe").keep("lanscribe-9")

    async def announce() -> None:
        kept = KeptName(tmp_path, "lanscribe")
        announcement = Announcement([], lambda: HOME, kept, look_every_s=3600)
        async with announcement.running():
            announcement.begin()
            async with asyncio.timeout(DEADLINE_S):
                while await announcement.name(DEADLINE_S) != "lanscribe-5.local":
                    await asyncio.sleep(0)
            assert not names[0].is_settled.is_set()

    asyncio.run(announce())
    assert (tmp_path / FILE_NAME).read_text() == "lanscribe-9\n"


def test_a_name_that_was_held_for_one_look_is_kept(
    names: list[ScriptedNaming], tmp_path: Path
) -> None:
    async def announce() -> None:
        kept = KeptName(tmp_path, "lanscribe")
        announcement = Announcement([], lambda: HOME, kept, look_every_s=0)
        async with announcement.running():
            announcement.begin()
            assert await announcement.name(DEADLINE_S) == "lanscribe-2.local"
            await asyncio.wait_for(names[0].is_settled.wait(), DEADLINE_S)

    asyncio.run(announce())
    assert (tmp_path / FILE_NAME).read_text() == "lanscribe-2\n"


@pytest.mark.usefixtures("names")
def test_there_is_no_name_without_an_announcement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def announce() -> str:
        name = KeptName(tmp_path, "lanscribe")
        announcement = Announcement([WYOMING], lambda: HOME, name, look_every_s=3600)
        async with announcement.running():
            announcement.begin()
            await announcement.name(DEADLINE_S)
            return await announcement.name(DEADLINE_S)

    monkeypatch.setattr(discovery, "instance_name", lambda _: "b" * 64)
    assert asyncio.run(announce()) == ""


@example("b" * 64)
@example("ü" * 64)
@example("Max's Mac")
@example("a.b.c")
@example("\x00\x7f\udcff")
@given(st.text(st.characters(codec=None), max_size=100))
def test_every_machine_can_be_announced(hostname: str) -> None:
    """Also with the number that zeroconf gives a name that is taken."""
    kind = "_lanscribe._tcp.local."
    name = f"{instance_name(hostname)}-99999.{kind}"
    info = AsyncServiceInfo(kind, name, port=8000, server="lanscribe.local.")
    out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    out.add_answer_at_time(info.dns_service(), 0)
    (record,) = DNSIncoming(out.packets()[0]).answers()
    assert record.name == name


def test_what_is_announced() -> None:
    app, home = services(8000, 8443, 10300, "key")
    assert (app.kind, app.port) == ("_lanscribe._tcp", 8000)
    assert (home.kind, home.port) == ("_wyoming._tcp", 10300)
    told = {"path": "/v1/realtime", "tls": "8443", "auth": "key", "version": __version__}
    assert app.properties == told
    (alone,) = services(8000, None, None, "lan")
    assert "tls" not in alone.properties


def test_addresses_are_those_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer with a global IPv6 address is let in by own-prefix alone."""
    ips = [ifaddr.IP("192.168.1.7", 24, "x"), ifaddr.IP(("fd00::7", 0, 0), 64, "x")]
    adapters = [
        ifaddr.Adapter("x", "x", [*ips, ifaddr.IP(("2001:db8::7", 0, 0), 64, "x")]),
        ifaddr.Adapter("y", "y", [ifaddr.IP("10.0.0.2", 8, "y")]),
        ifaddr.Adapter("z", "z", [ifaddr.IP(("2001:db8:9::7", 0, 0), 64, "z")]),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)

    def networks(host: str, *, has_own_prefix: bool = False) -> list[list[str]]:
        return list(map(list, announced_networks(host, has_own_prefix=has_own_prefix)))

    assert networks("192.168.1.7") == [["192.168.1.7"]]
    assert networks("box.local") == []
    assert networks("0.0.0.0", has_own_prefix=True) == [["192.168.1.7"], ["10.0.0.2"]]
    assert networks("::") == [["192.168.1.7", "fd00::7"], ["10.0.0.2"]]
    assert networks("::", has_own_prefix=True) == [
        ["192.168.1.7", "fd00::7", "2001:db8::7"],
        ["10.0.0.2"],
        ["2001:db8:9::7"],
    ]


def test_the_addresses_of_this_machine_can_be_listened_on() -> None:
    networks = announced_networks("::", has_own_prefix=True)
    for address in (one for addresses in networks for one in addresses):
        with socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ):
            pass


@pytest.mark.slow
def test_every_network_hears_of_it() -> None:
    """Two networks with IPv6, and a bridge for containers, whose address nobody hears."""
    try:
        subprocess.run([*NAMESPACE, TWO_NETWORKS], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here")
    listen = f"exec {sys.executable} -m tests.server.two_networks"
    done = subprocess.run(
        [*NAMESPACE, TWO_NETWORKS + listen],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    networks = (["192.168.50.7", "fd50::7"], ["192.168.60.7", "fd60::7"])
    assert json.loads(done.stdout) == {one: both for both in networks for one in both}
