"""Which page has sent a request: decisions by the headers of browsers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.errors import AuthError
from lanscribe.server.origins import is_secure, sender_of

OWN, FRIEND = {"https://box:8443"}, {"https://ha.example"}
OPENING = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def is_own(headers: dict[str, str], method: str = "GET", *, may_open: bool = False) -> bool:
    sender = sender_of(method, lambda name: [headers[name]] if name in headers else [])
    try:
        sender.check_is_own(OWN, FRIEND, may_open=may_open)
    except AuthError as error:
        assert error.code == "not_allowed"
        return False
    return True


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://box:8443"},
        {"origin": "https://BOX:8443"},
        {"origin": "https://box:8443", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "https://ha.example"},
        {"origin": "https://ha.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://ha.example", "sec-fetch-site": "same-site"},
    ],
)
def test_programs_and_own_pages(headers: dict[str, str]) -> None:
    assert is_own(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://box:8123"},
        {"origin": "http://box:8443"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://ha.example:444"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "anything"},
        {"origin": "https://box:8443", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", **OPENING, "sec-fetch-dest": "iframe"},
    ],
)
def test_pages_of_others(headers: dict[str, str]) -> None:
    assert not is_own(headers)
    assert not is_own(headers, may_open=True)


def test_a_link_on_any_page_may_open_this_server_in_a_tab() -> None:
    for site in ("cross-site", "same-site"):
        link = {"sec-fetch-site": site, **OPENING}
        assert is_own(link, may_open=True)
        assert is_own(link, "HEAD", may_open=True)
        assert not is_own(link)
        assert not is_own(link, "POST", may_open=True)
        assert not is_own({**link, "origin": "https://evil.example"}, may_open=True)


def test_two_origins_are_both_looked_at() -> None:
    for values in (["https://ha.example", "https://evil.example"], [*OWN, "null"]):
        sender = sender_of("GET", lambda name, v=values: v if name == "origin" else [])  # type: ignore[misc]
        with pytest.raises(AuthError, match="Origin"):
            sender.check_is_own(OWN, FRIEND)


def test_a_program_tells_nothing() -> None:
    assert not sender_of("GET", lambda _: []).is_told
    assert sender_of("GET", lambda name: ["x"] * (name == "origin")).is_told
    assert sender_of("GET", lambda name: ["x"] * (name == "sec-fetch-site")).is_told


@given(st.text(), st.text())
def test_no_header_raises_anything_else(origin: str, site: str) -> None:
    is_own({"origin": origin, "sec-fetch-site": site}, may_open=True)


@pytest.mark.parametrize(
    ("scheme", "forwarded", "is_by_proxy", "secure"),
    [
        ("https", [], False, True),
        ("wss", [], False, True),
        ("http", [], False, False),
        ("http", ["https"], False, False),
        ("http", ["https"], True, True),
        ("http", ["HTTPS "], True, True),
        ("http", ["http, https"], True, True),
        ("http", ["https, http"], True, False),
        ("http", ["http", "https"], True, True),
        ("http", [""], True, False),
        ("https", ["http"], True, False),
        ("http", [], True, False),
    ],
)
def test_who_came_over_tls(
    scheme: str, forwarded: list[str], is_by_proxy: bool, secure: bool
) -> None:
    assert is_secure(scheme, forwarded, is_by_proxy=is_by_proxy) is secure
