import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import pytest
from zeroconf import const
from zeroconf._dns import DNSQuestion
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

from lanscribe.identity.local_name import candidates
from lanscribe.server import naming
from lanscribe.server.naming import FREE_LOSSES, MOST_NAMES, PATIENCE, Link, Naming
from tests.support import DEADLINE_S

BOX, OTHER, LATER, FROM = "192.168.1.7", "192.168.1.9", "192.168.1.8", ("192.168.1.9", 5353)


class Clock:
    """Goes on when a test says so."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Wire(asyncio.DatagramTransport):
    """Counts what is sent, and lets another machine hear it."""

    def __init__(self, heard: Callable[[DNSIncoming], None] = lambda _: None) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self._heard = heard

    def sendto(self, data: bytes, addr: object = None) -> None:  # type: ignore[override]
        self.sent.append(data)
        self._heard(DNSIncoming(data))

    def is_closing(self) -> bool:
        return False


class Pauses:
    """Notes the pauses, and takes none."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def pause_s(self, number: int) -> float:
        self.noted.append(PATIENCE.pause_s(number))
        return 0


@dataclass
class Home:
    """A box on networks that the test makes up."""

    networks: Sequence[Sequence[str]] = ((BOX,),)
    own: set[str] = field(default_factory=lambda: {BOX})
    looks: int = 0

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.box = Naming(lambda: candidates("box", ""), self.networks, self._own, self.clock)
        self.wires = [Wire() for _ in self.networks]
        for link, wire in zip(self.box.links, self.wires, strict=True):
            link.connection_made(wire)

    def _own(self) -> Collection[str]:
        self.looks += 1
        return set(self.own)

    def hear(self, packet: bytes, network: int = 0) -> None:
        """Let the box hear a message."""
        self.box.links[network].datagram_received(packet, FROM)

    async def find(self) -> str:
        """The name that the box takes; what it sent for it is not counted."""
        label = await self.box.find()
        for wire in self.wires:
            wire.sent.clear()
        return label


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "PROBE_S", 0)


def said(address: str, speak: Callable[[Link], None]) -> bytes:
    """What a machine with this address sends."""
    link, wire = Link([address], lambda *_: None, Clock()), Wire()
    link.connection_made(wire)
    speak(link)
    return wire.sent[0]


def claim(label: str, address: str = OTHER) -> bytes:
    return said(address, lambda link: link.defend(label))


def question(label: str, kind: int = const._TYPE_ANY) -> bytes:
    out = DNSOutgoing(const._FLAGS_QR_QUERY)
    out.add_question(DNSQuestion(f"{label}.local.", kind, const._CLASS_IN))
    return out.packets()[0]


@pytest.mark.parametrize("kind", [const._TYPE_ANY, const._TYPE_A])
def test_a_flood_of_questions_is_answered_once_a_second(kind: int) -> None:
    home = Home()
    asyncio.run(home.find())
    for _ in range(160):
        home.hear(question("box", kind))
        home.clock.now_s += 1 / 16
    assert len(home.wires[0].sent) == 10


def test_a_flood_of_probes_is_answered_four_times_a_second() -> None:
    home = Home()
    asyncio.run(home.find())
    for _ in range(160):
        home.hear(said(OTHER, lambda link: link.ask("box", probes=True)))
        home.clock.now_s += 1 / 16
    assert len(home.wires[0].sent) == 40


def test_a_flood_of_lower_claims_is_answered_once_a_second() -> None:
    home = Home()
    asyncio.run(home.find())
    for _ in range(160):
        home.hear(claim("box", "192.168.1.2"))
        home.clock.now_s += 1 / 16
    assert len(home.wires[0].sent) == 10
    assert home.looks == 10


def test_an_answer_on_one_network_delays_none_on_another() -> None:
    home = Home(networks=((BOX,), ("10.0.0.7",)), own={BOX, "10.0.0.7"})
    asyncio.run(home.find())
    for network in (0, 1, 0, 1):
        home.hear(question("box"), network)
    assert [len(wire.sent) for wire in home.wires] == [1, 1]


def test_an_address_that_came_later_is_no_rival() -> None:
    """As Avahi of this machine tells it at once."""

    async def tell() -> bool:
        home = Home()
        await home.find()
        home.own.add(LATER)
        losing = asyncio.create_task(home.box.lost())
        home.hear(claim("box", LATER))
        await asyncio.sleep(0)
        is_lost = losing.done()
        losing.cancel()
        return is_lost or home.box.label != "box"

    assert not asyncio.run(tell())


def test_two_addresses_that_come_within_a_second_are_no_rivals() -> None:
    """The look for the first one is too young to look again for the second one at once."""

    async def tell() -> None:
        home = Home()
        await home.find()
        home.own.add("192.168.1.30")
        home.hear(claim("box", "192.168.1.30"))
        home.own.add("192.168.1.40")
        home.clock.now_s += 0.99
        home.hear(claim("box", "192.168.1.40"))
        assert home.looks == 1
        losing = asyncio.create_task(home.box.lost())
        await asyncio.sleep(0)  # it waits for the next look
        home.clock.now_s += 0.01
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(losing), 0.1)
        assert home.looks == 2
        home.clock.now_s += 1
        home.hear(claim("box"))
        home.clock.now_s += 1
        await asyncio.wait_for(losing, DEADLINE_S)

    asyncio.run(tell())


def test_a_system_that_does_not_list_its_adapters_leaves_those_that_were_known() -> None:
    home = Home()
    asyncio.run(home.find())
    home.hear(claim("box", BOX))
    assert home.looks == 1

    def fails() -> Collection[str]:
        raise OSError

    home.box._own._find = fails
    home.clock.now_s += 1
    home.hear(claim("box", "192.168.1.2"))
    assert len(home.wires[0].sent) == 1  # it defends itself
    home.clock.now_s += 1
    home.hear(claim("box", BOX))
    assert len(home.wires[0].sent) == 1


def test_the_name_that_is_lost_often_is_sought_ever_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A spoofer that claims every name: the number does not rise, for the first one is free."""
    pauses = Pauses()
    monkeypatch.setattr(naming, "PATIENCE", pauses)

    async def lose(count: int) -> list[str]:
        home = Home()
        found = []
        for _ in range(count):
            found.append(await home.find())
            home.clock.now_s += 1
            home.hear(claim(found[-1]))
            home.clock.now_s += 1
            await asyncio.wait_for(home.box.lost(), DEADLINE_S)
        home.box.settle()
        return [*found, await home.find()]

    assert set(asyncio.run(lose(FREE_LOSSES + 9))) == {"box"}
    assert pauses.noted == [0] * (FREE_LOSSES + 1) + [5, 10, 20, 40, 80, 160, 300, 300] + [0]


def test_a_spoofer_that_has_every_name_does_not_drive_the_number_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = Pauses()
    monkeypatch.setattr(naming, "PATIENCE", pauses)
    home = Home()
    asked: list[str] = []

    def answer(message: DNSIncoming) -> None:
        asked.append(message.questions[0].name)
        if len(asked) <= 3 * MOST_NAMES:
            home.hear(claim(asked[-1].removesuffix(".local.")))

    home.box.links[0].connection_made(Wire(answer))
    assert asyncio.run(home.box.find()) == "box"
    assert len(set(asked)) == MOST_NAMES
    assert f"box-{MOST_NAMES}.local." in asked
    assert pauses.noted == [0, 5, 10, 20]


def test_a_spoofer_that_ever_probes_for_a_name_does_not_hold_up_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(naming, "LATER_S", 0)
    home = Home()
    asked: list[str] = []

    def probe(message: DNSIncoming) -> None:
        asked.append(message.questions[0].name)
        if asked[-1] == "box.local.":
            home.hear(said(OTHER, lambda link: link.ask("box", probes=True)))

    home.box.links[0].connection_made(Wire(probe))
    assert asyncio.run(home.box.find()) == "box-2"
    assert asked.count("box.local.") == naming.MOST_DEFEATS + 1
