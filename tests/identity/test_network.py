import ipaddress
import socket
from unittest.mock import Mock

import pytest

from lanscribe.identity import network
from lanscribe.identity.network import routed_addresses, url_host, usable


def test_addresses_come_in_order_each_once_and_only_those_others_can_reach() -> None:
    found = ["192.168.1.5", None, "127.0.0.1", "10.8.0.2", "192.168.1.5", "0.0.0.0"]
    assert usable(found) == ["192.168.1.5", "10.8.0.2"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.168.1.5", "192.168.1.5"), ("box.local", "box.local"), ("fd00::2", "[fd00::2]")],
)
def test_url_host(host: str, expected: str) -> None:
    assert url_host(host) == expected


def test_this_machines_addresses_can_be_listened_on() -> None:
    for address in routed_addresses():
        ipaddress.IPv4Address(address)
        with socket.socket() as listener:
            listener.bind((address, 0))


def test_nothing_is_sent_and_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Mock()
    probe.__enter__ = Mock(return_value=probe)
    probe.__exit__ = Mock(return_value=None)
    probe.getsockname.return_value = ("192.168.1.5", 40000)
    fake = Mock(AF_INET=socket.AF_INET, SOCK_DGRAM=socket.SOCK_DGRAM)
    fake.socket.return_value = probe
    monkeypatch.setattr(network, "socket", fake)
    assert routed_addresses() == ["192.168.1.5"]
    assert {call[0] for call in probe.method_calls} == {"connect", "getsockname"}
    assert {call[0] for call in fake.method_calls} == {"socket"}
    fake.socket.assert_called_with(socket.AF_INET, socket.SOCK_DGRAM)


def test_a_machine_without_a_network_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert routed_addresses() == []
