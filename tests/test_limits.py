from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.errors import AuthError, LimitError
from lanscribe.limits import Slots, check_host, check_origin, check_peer_is_home


@pytest.mark.parametrize(
    "peer",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.2",
        "169.254.9.9",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:192.168.1.2",
    ],
)
def test_the_home_network_may_come_in(peer: str) -> None:
    check_peer_is_home(peer)


@pytest.mark.parametrize(
    "peer", ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8", "", "x"]
)
def test_nobody_else_may(peer: str) -> None:
    with pytest.raises(AuthError) as caught:
        check_peer_is_home(peer)
    assert caught.value.code == "not_allowed"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "192.168.1.2", "[::1]:8000", "localhost:8000", "box.local", "Box:1"]
)
def test_a_host_that_is_ours(host: str) -> None:
    check_host(host, ["box"])


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "evil.example:8000", "local", "box.local.evil.example", "[x"]
)
def test_a_host_pointed_here_from_outside(host: str | None) -> None:
    with pytest.raises(AuthError, match="hostnames"):
        check_host(host, ["box"])


@pytest.mark.parametrize("origin", [None, "http://box.local:8000", "https://box.local:8000"])
def test_an_origin_that_is_ours(origin: str | None) -> None:
    check_origin(origin, "box.local:8000")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://box.local:9000", "null", "", "http://[x"]
)
def test_a_page_from_elsewhere(origin: str) -> None:
    with pytest.raises(AuthError, match="Origin"):
        check_origin(origin, "box.local:8000")


@given(st.text(), st.text())
def test_no_header_raises_anything_else(host: str, origin: str) -> None:
    for check in (partial(check_host, host, []), partial(check_origin, origin, host)):
        try:
            check()
        except AuthError as error:
            assert error.code == "not_allowed"


def test_slots_are_given_back_also_after_an_error() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    with slots.take(), pytest.raises(LimitError) as caught, slots.take():
        pass
    assert caught.value.code == "server_busy"
    assert slots.taken == 0
