"""auth.networks, with the interfaces of a network namespace: who comes in by which address."""

import json
import subprocess
import sys

import pytest

from lanscribe import PROJECT_DIR

NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount", "bash", "-euc"]
INTERFACES = """
mount -t sysfs none /sys
ip link set lo up
ip link add lan0 type veth peer name far0
ip link set far0 up
ip link set lan0 up
ip addr add 192.168.50.7/24 dev lan0
ip addr add 100.64.7.7/24 dev lan0
ip addr add 2001:db8:50::7/64 dev lan0 nodad
ip link add tailscale0 type veth peer name far1
ip link set far1 up
ip link set tailscale0 up
ip addr add 100.101.102.103/32 dev tailscale0
ip route add local 100.101.102.0/24 dev lo src 100.101.102.103
ip route add local 100.64.7.0/24 dev lo src 100.64.7.7
ip -6 route add local 2001:db8:50::/64 dev lo
ip -6 route add local 2001:db8:60::/64 dev lo
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
"""
"""The last lines let a program here take any address of these networks, as others there have.

src: the machine's address on the interface by which it would answer to others there.
"""
TAILNET, LAN_TAILNET = ("100.101.102.9", "100.101.102.103"), ("100.64.7.9", "100.64.7.7")
STRANGER = ("100.64.7.9", "100.101.102.103")
"""On the ordinary network, with a route to the address of Tailscale's interface."""
PREFIX, OTHER_PREFIX = ("2001:db8:50::9", "2001:db8:50::7"), ("2001:db8:60::9", "2001:db8:50::7")
HOME = ("192.168.50.7", "192.168.50.7")
WAYS = [TAILNET, LAN_TAILNET, STRANGER, PREFIX, OTHER_PREFIX, HOME]
"""From which address, and to which of the machine's."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("networks", "admitted"),
    [
        ([], {HOME}),
        (["tailscale"], {HOME, TAILNET}),
        (["own-prefix"], {HOME, PREFIX}),
        (["tailscale", "own-prefix"], {HOME, TAILNET, PREFIX}),
    ],
)
def test_who_comes_in_by_which_network(networks: list[str], admitted: set[tuple[str, str]]) -> None:
    """The same over HTTP, WebSocket and Wyoming; never by the word of a proxy."""
    try:
        subprocess.run([*NAMESPACE, INTERFACES], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here")
    ask = f"exec {sys.executable} -m tests.server.ways_in {' '.join(networks)}"
    done = subprocess.run(
        [*NAMESPACE, INTERFACES + ask], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for way in WAYS:
        is_in = way in admitted
        name = " ".join(way)
        assert answers["http"][name] == (200 if is_in else 403), name
        assert answers["websocket"][name] == ("session.created" if is_in else "403"), name
        assert answers["wyoming"][name] == ("info" if is_in else "error"), name
        assert answers["proxy"][name] == (200 if way == HOME else 403), name
    assert answers["at hand"] == ["tailscale", "own-prefix"]
