"""The frame of the page in Chromium: which view an address opens, and what the page tells."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import ChromiumPage
from tests.servers import ServeHere, ServerHere

SHOWN = "() => [...document.querySelectorAll('main > section:not([hidden])')].map((one) => one.id)"
ALL_NAMES = "() => Object.getOwnPropertyNames(Object.prototype)"


@pytest.fixture
def server(serve_here: ServeHere) -> ServerHere:
    return serve_here()


@pytest.fixture
def shell(tab: ChromiumPage, server: ServerHere) -> Iterator[ChromiumPage]:
    """The page; what it complains of is a fault."""
    tab.open(server.http_url)
    yield tab
    assert tab.complaints == []


def test_an_address_that_names_no_view_opens_the_first(
    shell: ChromiumPage, server: ServerHere
) -> None:
    """Also by the names that every object has, and when the page is open already."""
    names = shell.run(ALL_NAMES)
    assert "constructor" in names
    for name in [*names, "live/x", "%F0", "nothing"]:
        shell.run("(name) => { location.hash = name; }", name)
        assert shell.run(SHOWN) == ["live"]
    for name in ("constructor", "__proto__"):
        shell.open("about:blank")
        shell.open(f"{server.http_url}/#{name}")
        assert shell.run(SHOWN) == ["live"]
