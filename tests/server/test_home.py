"""The home rule: whose addresses and which Hosts are those of the home network."""

import random
import re
import socket
from pathlib import Path

import pytest
from ifaddr import IP, Adapter

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError
from lanscribe.identity import tailscale
from lanscribe.identity.names import own_names
from lanscribe.identity.network import source_towards
from lanscribe.server.home import LOOK_EVERY_S, Home
from tests.identity.test_tailscale import program
from tests.support import DEADLINE_S

SUFFIXES = ["lan", "fritz.box", "home.example", "tail1234.ts.net"]
TAILNET, PREFIX = "100.101.102.103", "2001:db8:1:2"


def adapter(name: str, *addresses: str) -> Adapter:
    ips = [IP((one, 0, 0), 64, name) if ":" in one else IP(one, 24, name) for one in addresses]
    return Adapter(name, name, ips)


ADAPTERS = [
    adapter("lo", "127.0.0.1", "::1"),
    adapter("no-such0", "192.168.1.2", f"{PREFIX}::2", "fd00::2", "fe80::2"),
    adapter("tailscale0", TAILNET, "fd7a:115c:a1e0::1"),
]


class Network:
    """What a test says of the machine, how often it was asked, and its clock."""

    def __init__(self) -> None:
        self.names = own_names("nas", SUFFIXES)
        self.adapters = ADAPTERS
        self.source = TAILNET
        self.looks = 0
        self.now_s = 0.0

    def home(self, *networks: str, hostnames: tuple[str, ...] = ()) -> Home:
        auth = AuthSettings.model_validate({"networks": networks, "hostnames": hostnames})
        clock, source = lambda: self.now_s, lambda _peer: self.source
        return Home(auth, self.find_names, self.find_adapters, clock, source)

    def find_names(self) -> list[str]:
        self.looks += 1
        return self.names

    def find_adapters(self) -> list[Adapter]:
        self.looks += 1
        return self.adapters


def admits_host(home: Home, host: str | None) -> bool:
    try:
        home.check_host(host)
    except AuthError as error:
        assert error.code == "not_allowed"
        return False
    return True


def admits_peer(home: Home, peer: str, local: str = "") -> bool:
    try:
        home.check_peer(peer, local)
    except AuthError as error:
        assert error.code == "not_allowed"
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        *("nas", "NAS:8443", "nas.:8000", "nas.lan", "Nas.Lan.:8000", "nas.home.arpa"),
        *("nas.internal", "nas.localdomain", "nas.fritz.box:8443", "nas.home.example."),
        *("nas.tail1234.ts.net:8443", "nas.local", "other.local", "localhost", "[fd00::2]:8443"),
        *("box.example.org:8443", "BOX.example.org."),
    ],
)
def test_the_names_of_this_machine(host: str) -> None:
    assert admits_host(Network().home(hostnames=("Box.Example.Org",)), host)


LOOKALIKES = [
    *("nas.lan.evil.com", "evilnas.lan", "nas.evil.com", "nas.lan@evil", "nas.localx", "lan"),
    *("evil.lan", "nas.lan.lan", "xn--ns-0ia.lan", "n\u0430s.lan", "nas.xn--ln-0ia", "nas_lan"),
    *("nas-lan", "nas.lan..", "..nas.lan", ".nas.lan", "nas..lan", "nas.fritz.box.evil.com"),
    *("fritz.box", "home.example", "evil.home.example", "other.tail1234.ts.net", "nas.ts.net"),
    *("nas.tail9999.ts.net", "tail1234.ts.net", "www.nas.lan", "nas.lan:8000:1", "nas.lan/evil"),
    *("nas.lan#evil", "nas.lan?evil", "nas.lan\\evil", "nas lan", "nas.lan\n", "nas%2elan", ""),
    *("printer", "router.lan", "other-box.lan:8443", "homeassistant", None),
]
"""Names of others, of another box too, and what only looks like the machine's own."""


@pytest.mark.parametrize("host", LOOKALIKES)
def test_names_of_others_and_lookalikes(host: str | None) -> None:
    assert not admits_host(Network().home(), host)


@pytest.mark.parametrize("seed", range(100))
def test_no_lookalike_of_a_name_is_one(seed: int) -> None:
    """Own names, changed at random places and joined with others, are own only if equal to one."""
    rng, network = random.Random(seed), Network()
    home, own = network.home(), {*network.names}
    for _ in range(50):
        name = rng.choice(network.names)
        match rng.randrange(6):
            case 0:
                name = f"{name}.{rng.choice(['evil.com', 'lan', 'x', 'example', *network.names])}"
            case 1:
                name = rng.choice(["evil", "www.", "xn--", "-", *network.names]) + name
            case 2:
                place = rng.randrange(len(name))
                name = name[:place] + rng.choice("abcnsx.-_@:/\u0430") + name[place + 1 :]
            case 3:
                place = rng.randrange(len(name))
                name = name[:place] + rng.choice(["", "..", "a", "@", "\u3002"]) + name[place:]
            case 4:
                label, _, suffix = name.partition(".")
                name = f"{rng.choice(['router', 'evil', label + '2'])}.{suffix}"
            case _:
                name = name.replace("a", rng.choice(["\u0430", "xn--a", "4", "aa"]))
        host = name + rng.choice(["", ":8000", ":8443", "."])
        name = re.sub(":[0-9]{1,5}$", "", host).lower().removesuffix(".")
        if not name.endswith(".local"):  # public DNS has no such names
            assert admits_host(home, host) == (name in own), f"seed {seed}: {host!r}"


def test_without_a_word_it_answers_to_the_name_that_the_machine_has() -> None:
    home = Home(AuthSettings())
    name = socket.gethostname().partition(".")[0]
    assert admits_host(home, f"{name}:8000")
    assert admits_host(home, f"{name}.lan")
    assert not admits_host(home, f"not-{name}.lan")


def test_the_name_that_tailscale_gives_is_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the search domain of the tailnet is not in resolv.conf, and the name differs."""
    status = """echo '{"Self": {"DNSName": "nas-1.tail9999.ts.net."}}'"""
    monkeypatch.setattr(tailscale, "PROGRAMS", (program(tmp_path, status),))
    home = Network().home()
    home._tailnet_name.wait(DEADLINE_S)
    for host in ("nas-1.tail9999.ts.net:8443", "NAS-1", "nas-1.tail9999.ts.net."):
        assert admits_host(home, host)
    for host in ("nas.tail9999.ts.net", "nas-1.ts.net", "tail9999.ts.net", "nas-1.lan"):
        assert not admits_host(home, host)


def test_names_are_looked_up_again_when_the_network_has_changed() -> None:
    network = Network()
    home = network.home()
    for _ in range(100):
        assert not admits_host(home, "nas.new.example")
        assert admits_host(home, "192.168.1.2")
        assert admits_host(home, "box.local")
    assert network.looks == 1, "cheap for each request, and none is needed for an address"
    network.names = own_names("nas", ["new.example"])
    network.now_s += LOOK_EVERY_S
    assert admits_host(home, "nas.new.example")
    assert not admits_host(home, "nas.home.example")


@pytest.mark.parametrize(
    ("networks", "peer", "local", "is_home"),
    [
        ((), "100.64.0.9", TAILNET, False),
        ((), f"{PREFIX}::9", f"{PREFIX}::2", False),
        (("tailscale",), "100.64.0.9", TAILNET, True),
        (("tailscale",), "::ffff:100.64.0.9", f"::ffff:{TAILNET}", True),
        (("tailscale",), "100.127.255.254", TAILNET, True),
        (("tailscale",), "100.128.0.1", TAILNET, False),
        (("tailscale",), "100.63.255.255", TAILNET, False),
        (("tailscale",), "8.8.8.8", TAILNET, False),
        (("tailscale",), "100.64.0.9", "192.168.1.2", False),
        (("tailscale",), "100.64.0.9", "100.64.0.9", False),
        (("tailscale",), "100.64.0.9", "", False),
        (("tailscale",), f"{PREFIX}::9", f"{PREFIX}::2", False),
        (("own-prefix",), f"{PREFIX}::9", f"{PREFIX}::2", True),
        (("own-prefix",), f"{PREFIX}:a:b:c:d", "fd00::2", True),
        (("own-prefix",), "2001:db8:1:3::9", f"{PREFIX}::2", False),
        (("own-prefix",), f"{PREFIX}::9", "", False),
        (("own-prefix",), "100.64.0.9", TAILNET, False),
        (("own-prefix",), "::ffff:8.8.8.8", f"{PREFIX}::2", False),
        (("tailscale", "own-prefix"), "100.64.0.9", TAILNET, True),
        (("tailscale", "own-prefix"), f"{PREFIX}::9", f"{PREFIX}::2", True),
        (("tailscale", "own-prefix"), "192.168.1.9", "192.168.1.2", True),
        (("tailscale", "own-prefix"), "192.168.1.9", "", True),
        (("tailscale", "own-prefix"), "unknown", TAILNET, False),
    ],
)
def test_whose_address_is_of_the_home(
    networks: tuple[str, ...], peer: str, local: str, is_home: bool
) -> None:
    assert admits_peer(Network().home(*networks), peer, local) is is_home


@pytest.mark.parametrize("source", ["192.168.1.2", "100.64.7.7", "", "127.0.0.1"])
def test_a_peer_that_is_answered_by_another_interface_is_not_of_the_tailnet(source: str) -> None:
    network = Network()
    home = network.home("tailscale")
    for peer in ("100.64.0.9", "::ffff:100.64.0.9"):
        assert admits_peer(home, peer, TAILNET)
        network.source = source
        assert not admits_peer(home, peer, TAILNET)
        network.source = TAILNET


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("127.0.0.9", "127.0.0.1"),
        ("::ffff:127.0.0.9", "127.0.0.1"),
        ("fd00::1", ""),
        ("255.255.255.255", ""),
    ],
)
def test_by_which_address_the_machine_answers(peer: str, source: str) -> None:
    assert source_towards(peer) == source


def test_networks_are_looked_up_again_and_only_for_those_who_need_it() -> None:
    network = Network()
    home = network.home("tailscale", "own-prefix")
    for _ in range(100):
        assert admits_peer(home, "192.168.1.9", "192.168.1.2")
        assert not admits_peer(home, "8.8.8.8", "192.168.1.2")
    assert network.looks == 0
    for _ in range(100):
        assert admits_peer(home, "100.64.0.9", TAILNET)
    assert network.looks == 1
    network.adapters = [adapter("no-such0", "192.168.1.2", "2001:db8:9:9::2")]
    network.now_s += LOOK_EVERY_S
    assert not admits_peer(home, "100.64.0.9", TAILNET)
    assert admits_peer(home, "2001:db8:9:9::1", "192.168.1.2")
    assert not admits_peer(home, f"{PREFIX}::9", "192.168.1.2")


@pytest.mark.parametrize(
    ("host", "is_admitted"),
    [
        ("box.example.org:8443", True),
        ("BOX.example.org.", True),
        ("other.example.org", False),
        ("box.example.org.evil.example", False),
        ("evil.example", False),
        ("*.example.net", False),
        ("any.example.net", False),
    ],
)
def test_names_in_the_owners_certificate_are_those_of_this_box(
    host: str, is_admitted: bool
) -> None:
    names = ["box.example.org"]
    home = Home(AuthSettings(), list, list, certified=lambda: names)
    assert admits_host(home, host) is is_admitted
    names.clear()
    assert not admits_host(home, host)
