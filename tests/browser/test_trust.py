"""A box whose certificate is its own, in browsers that trust its authority and in others."""

import socket
from pathlib import Path

import pytest

from tests.browser.driving import Browser, Page, Refused
from tests.browser.scripts import DIAL, LISTEN
from tests.servers import ServeHere, ServerHere

UNKNOWN_ISSUER = {"chromium": "ERR_CERT_AUTHORITY_INVALID", "firefox": "SEC_ERROR_UNKNOWN_ISSUER"}
"""What browsers call it when nobody whom they trust has signed a certificate."""
NAMES = ("127.0.0.1", "localhost", "lanscribe.local", "box.local", "box.lan", "box.fritz.box")


@pytest.fixture
def box(serve_here: ServeHere, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHere:
    """A box called box that has the authority of the tests."""
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    return serve_here(server={"state_dir": str(state_dir)}, tls={"mode": "auto", "port": 0})


def test_every_name_of_the_box_is_trusted(page: Page, box: ServerHere) -> None:
    for name in NAMES:
        page.open(f"https://{name}:{box.secure_port}/trust")
        assert page.run("() => [location.hostname, isSecureContext]") == [name, True]


def test_a_page_of_the_box_gets_the_microphone_and_a_session(page: Page, box: ServerHere) -> None:
    page.open(f"https://lanscribe.local:{box.secure_port}/trust")
    assert page.run(LISTEN) > 0.01
    assert page.run(DIAL, f"wss://lanscribe.local:{box.secure_port}/v1/realtime", []) == (
        "session.created"
    )


def test_plain_http_gives_no_microphone(page: Page, box: ServerHere) -> None:
    """Which is why there is https at all; a browser excepts the machine it runs on."""
    page.open(f"http://lanscribe.local:{box.port}/trust")
    assert page.run("() => [isSecureContext, navigator.mediaDevices ?? null]") == [False, None]


def test_a_browser_that_does_not_trust_the_authority_refuses(
    stranger: Browser, box: ServerHere
) -> None:
    with stranger.page() as page:
        for name in NAMES:
            with pytest.raises(Refused) as refusal:
                page.open(f"https://{name}:{box.secure_port}/trust")
            assert refusal.value.args == (UNKNOWN_ISSUER[stranger.name],)
