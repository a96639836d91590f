from pathlib import Path

import pytest
from ifaddr import IP, Adapter

from lanscribe.identity.adapters import every_address, shared_addresses, shared_networks

ETHERNET, LOOPBACK, TUNNEL = "0x1003", "0x9", "0x1091"
"""The flags of adapters as Linux gives them."""


def adapter(name: str, *addresses: str) -> Adapter:
    """As ifaddr describes one; an IPv6 address is a tuple there."""
    ips = [
        IP((address, 0, 0), 64, name) if ":" in address else IP(address, 24, name)
        for address in addresses
    ]
    return Adapter(name, name, ips)


def put(class_net: Path, name: str, flags: str = ETHERNET, *, device: bool = False) -> Path:
    """A folder like those of Linux."""
    folder = class_net / name
    folder.mkdir(parents=True)
    (folder / "flags").write_text(f"{flags}\n")
    if device:
        (folder / "device").mkdir()
    return folder


def put_bridge(class_net: Path, name: str, *ports: Path) -> Path:
    folder = put(class_net, name)
    (folder / "bridge").mkdir()
    for port in ports:
        (folder / f"lower_{port.name}").symlink_to(port)
    return folder


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["192.168.1.7", "2001:db8::7", "fe80::1"], ["192.168.1.7", "2001:db8::7"]),
        (["127.0.0.1", "::1"], []),
        (["0.0.0.0", "::"], []),
        (["169.254.3.4", "fd00::7", "fd00::8"], ["169.254.3.4", "fd00::7", "fd00::8"]),
    ],
)
def test_which_addresses_of_an_adapter_count(addresses: list[str], expected: list[str]) -> None:
    assert list(shared_addresses([adapter("none", *addresses)])) == expected


def test_every_network_counts_and_none_that_is_this_machines_own(tmp_path: Path) -> None:
    put(tmp_path, "lo", LOOPBACK)
    put(tmp_path, "tun0", TUNNEL)
    card = put(tmp_path, "eth0", device=True)
    inside = put(tmp_path, "veth1234")
    put_bridge(tmp_path, "docker0", inside)
    put_bridge(tmp_path, "virbr0")
    bond = put(tmp_path, "bond0")
    (bond / "lower_eth0").symlink_to(card)
    put_bridge(tmp_path, "br0", inside, bond)
    adapters = [
        adapter("lo", "127.0.0.1"),
        adapter("eth0", "192.168.1.7"),
        adapter("wlan0", "192.168.2.7"),
        adapter("tun0", "10.8.0.2"),
        adapter("docker0", "172.17.0.1", "fd17::1"),
        adapter("virbr0", "192.168.122.1"),
        adapter("br0", "10.0.0.2"),
    ]
    assert list(shared_addresses(adapters, tmp_path)) == [
        "192.168.1.7",
        "192.168.2.7",
        "10.0.0.2",
    ]


def test_two_adapters_in_one_network_are_one() -> None:
    """Such as a cable and Wi-Fi: two answers to one name would contradict each other there."""
    adapters = [
        adapter("none0", "192.168.1.7", "fd00::7"),
        adapter("none1", "10.0.0.2", "fe80::7"),
        adapter("none2", "192.168.1.8"),
        adapter("none3", "127.0.0.1"),
    ]
    assert shared_networks(adapters) == [("10.0.0.2",), ("192.168.1.7", "fd00::7", "192.168.1.8")]


def test_every_address_of_the_machine_is_its_own() -> None:
    adapters = [adapter("none0", "192.168.1.7", "fe80::7"), adapter("lo", "127.0.0.1")]
    assert every_address(adapters) == {"192.168.1.7", "fe80::7", "127.0.0.1"}
