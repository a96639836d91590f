import ipaddress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.errors import AuthError
from lanscribe.server.access import (
    address_group,
    check_host,
    check_origin,
    check_peer_is_home,
    chosen_subprotocol,
    client_address,
    has_key,
    is_in,
    is_loopback,
    offered_keys,
    own_origins,
    parsed_networks,
)


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
    "host",
    [
        *("127.0.0.1:8000", "192.168.1.2", "[::1]:8000", "[fe80::1%25eth0]", "localhost:8000"),
        *("box.local", "Box:1", "LOCALHOST", "box.local.:8000", "box.", "localhost."),
    ],
)
def test_a_host_that_is_ours(host: str) -> None:
    check_host(host, ["BOX."])


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "evil.example", "evil.example:8000", "local", "box.local.evil.example", "[x"),
        *(
            "evil.example@127.0.0.1",
            "127.0.0.1@evil.example",
            "127.0.0.1/evil.example",
            "localhost#",
        ),
        *(
            "127.0.0.1.nip.io",
            "127.0.0.1.",
            "2130706433",
            "0x7f.1",
            "localhost:port",
            "localhost:1:2",
        ),
        *("localhost, evil.example", "localhost evil", "evil\u3002local", "[evil]", "localhost\n"),
    ],
)
def test_a_host_pointed_here_from_outside(host: str | None) -> None:
    with pytest.raises(AuthError, match="hostnames"):
        check_host(host, ["box"])


@pytest.mark.parametrize("hostname", ["", "."])
def test_an_empty_hostname_admits_nobody(hostname: str) -> None:
    for host in (None, "", ".", "evil.example"):
        with pytest.raises(AuthError):
            check_host(host, [hostname])


def test_over_tls_only_pages_of_https_are_own() -> None:
    assert own_origins("Box", is_secure=True) == {"https://box"}
    for nobody in (None, ""):
        assert own_origins(nobody, is_secure=False) == set()
    assert own_origins("box:8000", is_secure=False) == {"http://box:8000", "https://box:8000"}


@pytest.mark.parametrize("origin", [None, "http://box.local:8000", "https://box.local:8000"])
def test_an_origin_that_is_ours(origin: str | None) -> None:
    check_origin(origin, own_origins("box.local:8000", is_secure=False))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://evil.example",
            "http://box.local:9000",
            "http://box.local",
            "null",
            "",
            "http://[x",
        ),
        *(
            "http://box.local.:8000",
            "http://evil@box.local:8000",
            "http://box.local:8000@evil.example",
        ),
        *("http://box.local:8000/evil", "moz-extension://box.local:8000", "//box.local:8000"),
        "http://box.local:8000 https://evil.example",
    ],
)
def test_a_page_from_elsewhere(origin: str) -> None:
    with pytest.raises(AuthError, match="Origin"):
        check_origin(origin, own_origins("box.local:8000", is_secure=False))


@given(st.text(), st.text())
def test_no_header_raises_anything_else(host: str, origin: str) -> None:
    for check in (
        partial(check_host, host, []),
        partial(check_origin, origin, own_origins(host, is_secure=False)),
    ):
        try:
            check()
        except AuthError as error:
            assert error.code == "not_allowed"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fd00::1:2:3:4:5", "fd00:0:0:1::/64"),
        ("fe80::9%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_counts_as_one_client(address: str, group: str) -> None:
    assert address_group(address) == group


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        *(("127.0.0.1", True), ("127.255.255.254", True), ("::1", True)),
        *(("::ffff:127.0.0.1", True), ("128.0.0.1", False), ("126.255.255.255", False)),
        *(("::2", False), ("::ffff:10.0.0.1", False), ("192.168.1.2", False)),
        *(("0.0.0.0", False), ("localhost", False), ("", False), ("127.0.0.1:80", False)),
    ],
)
def test_a_loopback_address_is_on_this_machine(address: str, is_here: bool) -> None:
    assert is_loopback(address) is is_here


@pytest.mark.parametrize(
    ("address", "is_there"),
    [
        *(("10.1.0.0", True), ("10.1.255.255", True), ("::ffff:10.1.2.3", True)),
        *(("fd00::1", True), ("10.2.0.0", False), ("10.0.255.255", False), ("fd00:1::", False)),
        *(("", False), ("10.1", False), ("10.1.2.3, 10.1.2.4", False)),
    ],
)
def test_an_address_is_in_one_of_several_networks(address: str, is_there: bool) -> None:
    networks = (ipaddress.IPv4Network("10.1.0.0/16"), ipaddress.IPv6Network("fd00::/32"))
    assert is_in(address, networks) is is_there
    assert not is_in(address, [])


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols"),
    [
        ({"authorization": "Bearer KEY"}, {}, []),
        ({"authorization": "bearer  KEY "}, {}, []),
        ({"authorization": "Token KEY"}, {}, []),
        ({"x-api-key": "KEY"}, {}, []),
        ({}, {"api_key": "KEY"}, []),
        ({}, {}, ["realtime", "openai-insecure-api-key.KEY"]),
        ({}, {}, ["token", "KEY"]),
        ({"authorization": "Bearer not-needed"}, {"api_key": "KEY"}, []),
    ],
)
def test_the_forms_of_a_key(
    headers: dict[str, str], query: dict[str, str], subprotocols: list[str]
) -> None:
    assert has_key(offered_keys(headers, query, subprotocols), "KEY")


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols"),
    [
        ({}, {}, []),
        ({"authorization": "KEY"}, {}, []),
        ({"authorization": "Basic KEY"}, {}, []),
        ({"authorization": "Bearer"}, {"api_key": ""}, ["token"]),
        ({"authorization": "Bearer KEYS"}, {"api_key": "KE"}, ["realtime", "KEY"]),
    ],
)
def test_what_is_no_key(
    headers: dict[str, str], query: dict[str, str], subprotocols: list[str]
) -> None:
    assert not has_key(offered_keys(headers, query, subprotocols), "KEY")


def test_who_shows_nothing_has_shown_no_wrong_key() -> None:
    assert offered_keys({}, {}, []) == []
    assert offered_keys({"authorization": "Bearer", "x-api-key": ""}, {"api_key": ""}, []) == []


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_none_fits(key: str | None) -> None:
    assert not has_key(["", "x", "None"], key)


@given(st.text(), st.text(min_size=1))
def test_only_the_key_is_the_key(offered: str, key: str) -> None:
    assert has_key([offered], key) == (offered == key)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["chat"], None),
        (["realtime", "openai-insecure-api-key.KEY"], "realtime"),
        (["openai-insecure-api-key.KEY", "realtime"], "realtime"),
        (["token", "KEY"], "token"),
        (["openai-insecure-api-key.KEY"], None),
    ],
)
def test_a_key_is_never_answered_as_a_subprotocol(offered: list[str], chosen: str | None) -> None:
    assert chosen_subprotocol(offered) == chosen


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.9", ["8.8.8.8"], None),
        ("10.0.0.2", ["8.8.8.8"], "8.8.8.8"),
        ("10.0.0.2", ["127.0.0.1, 8.8.8.8"], "8.8.8.8"),
        ("10.0.0.2", ["127.0.0.1", "8.8.8.8"], "8.8.8.8"),
        ("::ffff:10.0.0.2", ["8.8.8.8, 172.16.3.4"], "8.8.8.8"),
        ("172.16.9.9", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.2", ["8.8.8.8, nonsense"], "nonsense"),
    ],
)
def test_whom_a_proxy_speaks_for(peer: str, forwarded_for: list[str], client: str | None) -> None:
    proxies = parsed_networks(["10.0.0.2", "172.16.0.0/16"])
    assert client_address(peer, forwarded_for, proxies) == client
