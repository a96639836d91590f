"""What pages of other sites may ask and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.server.cors import answer_headers, is_preflight, preflight_headers

PAGE = "app://obsidian.md"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST"}


def test_a_preflight_is_one_by_its_method_and_headers() -> None:
    assert is_preflight("OPTIONS", PREFLIGHT)
    assert not is_preflight("POST", PREFLIGHT)
    assert not is_preflight("OPTIONS", {"origin": PAGE})
    assert not is_preflight("OPTIONS", {"access-control-request-method": "POST"})


@pytest.mark.parametrize("origin", ["https://a.example", "null", "file://", PAGE, "capacitor://x"])
def test_every_page_may_ask_and_read_without_credentials(origin: str) -> None:
    for headers in (answer_headers(origin), preflight_headers({**PREFLIGHT, "origin": origin})):
        assert headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("origin", ["", "a b", "x" * 301, "https://ä.example", "a\r\nb: c"])
def test_what_is_no_origin_is_not_repeated(origin: str) -> None:
    assert answer_headers(origin) == {}


def test_headers_are_allowed_as_they_are_asked_for() -> None:
    asked = "authorization, x-stainless-lang,content-type"
    answer = preflight_headers({**PREFLIGHT, "access-control-request-headers": asked})
    assert answer["Access-Control-Allow-Headers"] == asked
    assert "POST" in answer["Access-Control-Allow-Methods"]
    assert answer["Access-Control-Max-Age"] == "7200"


@pytest.mark.parametrize("asked", ["", "x" * 1001, "a\r\nb: c", "ä", "a: b"])
def test_what_are_no_names_of_headers_is_not_repeated(asked: str) -> None:
    answer = preflight_headers({**PREFLIGHT, "access-control-request-headers": asked})
    assert "Access-Control-Allow-Headers" not in answer


def test_a_public_page_may_ask_for_a_private_address() -> None:
    name = "access-control-request-private-network"
    answer = preflight_headers({**PREFLIGHT, name: "true"})
    assert answer["Access-Control-Allow-Private-Network"] == "true"
    assert "Access-Control-Allow-Private-Network" not in preflight_headers(PREFLIGHT)


@given(st.text(), st.text())
def test_no_answer_has_a_line_of_somebody_else(origin: str, asked: str) -> None:
    headers = preflight_headers(
        {"origin": origin, "access-control-request-headers": asked}
    ) | answer_headers(origin)
    for value in headers.values():
        assert value.isascii()
        assert not {*"\r\n\0"} & {*value}
