"""Which networks of this machine may be added to the home network."""

from ipaddress import ip_network
from pathlib import Path

import ifaddr
import pytest

from lanscribe.identity import home_networks
from lanscribe.identity.home_networks import own_prefixes, tailnet_addresses
from tests.identity.test_adapters import TUNNEL, adapter, put, put_bridge


def test_the_tailnet_is_that_of_tailscales_adapter() -> None:
    adapters = [
        adapter("eth0", "192.168.1.2", "100.64.1.1"),  # a provider's
        adapter("tailscale0", "100.101.102.103", "fd7a:115c:a1e0::1", "192.168.9.9"),
        adapter("utun4", "100.101.102.104"),
    ]
    assert tailnet_addresses(adapters, "linux") == ["100.101.102.103"]
    assert tailnet_addresses(adapters, "darwin") == ["100.101.102.103", "100.101.102.104"]


def test_own_prefixes_are_those_of_networks_shared_with_others(tmp_path: Path) -> None:
    put(tmp_path, "eth0", device=True)
    put(tmp_path, "wg0", TUNNEL)
    put_bridge(tmp_path, "docker0")
    adapters = [
        adapter("lo", "::1"),
        adapter("eth0", "192.168.1.2", "fe80::2", "fd00::2", "2001:db8:1:2::2", "2001:db8:1:2::3"),
        adapter("wg0", "2001:db8:2::2"),
        adapter("docker0", "2001:db8:3::1"),
        adapter("eth1", "2001:db8:4:5:6::1"),
    ]
    expected = [ip_network("2001:db8:1:2::/64"), ip_network("2001:db8:4:5::/64")]
    assert own_prefixes(adapters, tmp_path) == expected


@pytest.mark.parametrize(
    ("adapters", "expected"),
    [
        ([adapter("no-such0", "192.168.1.2", "fd00::2")], []),
        ([adapter("tailscale0", "100.64.0.1")], ["tailscale"]),
        ([adapter("no-such0", "192.168.1.2", "2001:db8::2")], ["own-prefix"]),
        ([adapter("no-such0", "198.41.0.4", "2001:db8::2")], []),
        ([adapter("no-such0", "2001:db8::2"), adapter("no-such1", "192.168.1.2")], []),
        (
            [adapter("tailscale0", "100.64.0.1"), adapter("no-such0", "10.0.0.2", "2001:db8::2")],
            ["tailscale", "own-prefix"],
        ),
    ],
)
def test_what_there_is_to_add(
    monkeypatch: pytest.MonkeyPatch, adapters: list[ifaddr.Adapter], expected: list[str]
) -> None:
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    assert home_networks.at_hand() == expected
