"""Which addresses and names people are shown, decided and in network namespaces."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.config import DiscoverySettings, ServerSettings, Settings
from lanscribe.identity import reachable
from lanscribe.identity.reachable import has_responder, in_order, names, shown

NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount", "bash", "-euc"]
CARD = """
mount -t sysfs none /sys
ip link set lo up
ip link add {0} type veth peer name far0
ip link set far0 up
ip link set {0} up
"""
ASK = """
from lanscribe.identity.reachable import addresses, lacks_ipv4
for host in ("0.0.0.0", "::"):
    print(*addresses(host), lacks_ipv4(host))
"""


@pytest.mark.parametrize(
    ("host", "routed", "found", "expected"),
    [
        ("0.0.0.0", ["192.168.1.5"], ["192.168.1.5"], ["192.168.1.5"]),
        ("0.0.0.0", ["10.0.0.9"], ["192.168.1.5", "10.0.0.9"], ["10.0.0.9", "192.168.1.5"]),
        ("0.0.0.0", [], ["192.168.1.5"], ["192.168.1.5"]),  # no gateway
        ("0.0.0.0", [], ["100.64.0.7"], ["100.64.0.7"]),  # a tailnet
        ("0.0.0.0", [], ["203.0.114.9"], ["203.0.114.9"]),
        (
            "0.0.0.0",
            [],
            ["169.254.3.4", "100.64.0.7", "203.0.114.9", "192.168.1.5"],
            ["192.168.1.5", "203.0.114.9", "100.64.0.7", "169.254.3.4"],
        ),
        ("0.0.0.0", [], ["fd00::7", "2001:db8::7"], []),
        ("::", [], ["fd00::7", "2001:db8::7"], ["fd00::7"]),
        ("::", [], ["2001:db8::7"], ["2001:db8::7"]),
        ("::", [], ["fd00::7", "2001:db8::7", "192.168.1.5"], ["192.168.1.5", "fd00::7"]),
        ("::", [], [], []),
    ],
)
def test_which_addresses_and_in_which_order(
    host: str, routed: list[str], found: list[str], expected: list[str]
) -> None:
    assert in_order(host, routed, found) == expected


@pytest.mark.parametrize(
    ("own", "hostname", "answers", "expected"),
    [
        ("lanscribe.local", "box", False, ["lanscribe.local"]),
        ("lanscribe.local", "box", True, ["lanscribe.local", "box.local"]),
        ("lanscribe-3.local", "lanscribe", True, ["lanscribe-3.local"]),
        ("lanscribe-3.local", "lanscribe", False, ["lanscribe-3.local"]),
        ("", "lanscribe", True, ["lanscribe.local"]),
        ("", "Box.home.example", True, ["box.local"]),
        ("", "box", False, []),
        ("", "localhost", True, []),
        ("", "localhost.localdomain", True, []),
        ("", "(none)", True, []),
        ("", "m\u00fcnchen", True, []),
        ("", "-bad-", True, []),
        ("", "", True, []),
    ],
)
def test_which_names(
    monkeypatch: pytest.MonkeyPatch, own: str, hostname: str, answers: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(reachable, "has_responder", lambda: answers)
    assert names(own, hostname, "lanscribe") == expected


def test_what_answers_for_the_machines_name(tmp_path: Path) -> None:
    avahi, links = tmp_path / "socket", tmp_path / "links"
    links.mkdir()
    (links / "1").write_text("MDNS=no\n")
    (links / "2").mkdir()
    assert not has_responder(avahi, links, "linux")
    assert has_responder(avahi, links, "darwin")
    (links / "3").write_text("LLMNR=yes\nMDNS=yes\n")
    assert has_responder(avahi, links, "linux")
    avahi.touch()
    assert has_responder(avahi, tmp_path / "none", "linux")


def test_the_kept_name_is_shown_where_the_server_answers_to_it(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("lanscribe-3\n")
    server = ServerSettings(state_dir=str(tmp_path))
    for enabled in (True, False):
        settings = Settings(server=server, discovery=DiscoverySettings(enabled=enabled))
        assert ("lanscribe-3.local" in shown("::", settings)) == enabled
        assert "lanscribe.local" in shown("::", settings, "lanscribe.local")
        assert "lanscribe-3.local" not in shown("::", settings, "")
        assert shown("192.168.1.5", settings) == ["192.168.1.5"]


def test_without_a_list_of_adapters_the_routes_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("ifaddr.get_adapters", refuse)
    monkeypatch.setattr(reachable, "routed_addresses", lambda: ["192.168.1.5"])
    assert reachable.addresses("::") == ["192.168.1.5"]


@pytest.mark.parametrize(
    ("card", "given", "expected"),
    [
        ("lan0", ["192.168.50.7/24"], ["192.168.50.7 False", "192.168.50.7 False"]),
        ("lan0", ["fd50::7/64"], ["True", "fd50::7 False"]),
        ("lan0", ["2001:db8::7/64"], ["True", "2001:db8::7 False"]),
        ("tailscale0", ["100.64.0.7/32"], ["100.64.0.7 False", "100.64.0.7 False"]),
        ("lan0", ["203.0.114.9/24"], ["203.0.114.9 False", "203.0.114.9 False"]),
        ("lan0", [], ["False", "False"]),
    ],
)
def test_on_a_machine_without_a_gateway(card: str, given: list[str], expected: list[str]) -> None:
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "ip"))):
        pytest.skip("no network namespaces here")
    if subprocess.run(
        [*NAMESPACE, CARD.format("lan0")], capture_output=True, check=False
    ).returncode:
        pytest.skip("no network namespaces here")
    adding = [f"ip addr add {one} dev {card}{' nodad' if ':' in one else ''}" for one in given]
    script = "\n".join([CARD.format(card), *adding, f'exec {sys.executable} -c "$0"'])
    done = subprocess.run(
        [*NAMESPACE, script, ASK], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.splitlines() == expected
