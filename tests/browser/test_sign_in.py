"""Signing in by the page, and what the browser does with the cookie."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lanscribe.identity.authority import Authority
from tests.browser.driving import Page
from tests.browser.scripts import ASK, DIAL, SIGN_IN
from tests.browser.sites import certificate_for, site
from tests.servers import ServeHere, ServerHere
from tests.support import DEADLINE_S

KEY = "a-key-of-the-tests"
DAYS_S = 86_400
SENT_COOKIES = "() => document.querySelector('pre').textContent"
"""On a page of a site of the tests."""


class Box:
    """A box in key mode, over https.

    By a name that is not this machine's alone: to that, browsers send such cookies over http too.
    """

    def __init__(self, server: ServerHere, key_file: Path) -> None:
        self.server = server
        self.key_file = key_file
        self.url = f"https://box.lan:{server.secure_port}"
        self.socket_url = f"wss://box.lan:{server.secure_port}/v1/realtime"

    def key(self) -> str:
        """The key that counts now."""
        return self.key_file.read_text(encoding="utf-8").strip()

    def command(self, *words: str) -> None:
        """What serve.sh runs, with the settings of this box.

        A new key is not that of the servers of other tests, which run from this folder too: the
        status tells.
        """
        settings = {
            "LANSCRIBE_AUTH_KEY_FILE": str(self.key_file),
            "LANSCRIBE_SERVER_STATE_DIR": self.server.settings.server.state_dir,
        }
        subprocess.run(
            [sys.executable, "-m", "lanscribe", *words],
            check=words[-1] != "new",
            capture_output=True,
            timeout=DEADLINE_S,
            env={**os.environ, **settings},
        )

    def answers(self, page: Page) -> tuple[object, object]:
        """What fetch and a WebSocket without a key get on a page of the box."""
        page.open(f"{self.url}/sign-in")
        return page.run(ASK, "/v1/models", {}), page.run(DIAL, self.socket_url, [])


SERVED, REFUSED = (200, "session.created"), (401, "refused")


@pytest.fixture
def box(serve_here: ServeHere, authority: Authority, tmp_path: Path) -> Box:
    certificate = certificate_for(authority, ["box.lan"], tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n", encoding="utf-8")
    server = serve_here(
        server={"state_dir": str(tmp_path / "state")},
        tls={"mode": "own", "cert": str(certificate), "key": str(certificate), "port": 0},
        auth={"mode": "key", "key_file": str(key_file)},
    )
    return Box(server, key_file)


def test_the_form_takes_the_key_and_its_cookie_opens_all(page: Page, box: Box) -> None:
    assert box.answers(page) == REFUSED
    assert page.submit(*KEY, "Enter") == "/"
    (cookie,) = page.cookies()
    assert (cookie.name, cookie.domain, cookie.path) == ("__Host-lanscribe", "box.lan", "/")
    assert cookie.is_secure
    assert cookie.is_http_only
    assert cookie.same_site == "strict"
    assert 89 * DAYS_S < cookie.expires_s - time.time() < 91 * DAYS_S
    assert page.run("() => document.cookie") == ""
    assert box.answers(page) == SERVED


def test_signing_in_leads_on_to_the_view_that_was_asked_for(page: Page, box: Box) -> None:
    """Also after a wrong key."""
    page.open(f"{box.url}/#past")
    page.run("() => document.querySelector('main a').focus()")
    assert page.submit("Enter") == "/sign-in"
    assert page.submit(*"a-wrong-key-x", "Enter") == "/sign-in"
    assert page.submit(*KEY, "Enter") == "/"
    assert page.run("() => location.hash") == "#past"
    assert page.run("() => document.getElementById('past').hidden") is False


def test_a_wrong_key_is_told_and_opens_nothing(page: Page, box: Box) -> None:
    assert box.answers(page) == REFUSED
    assert page.submit(*"a-wrong-key-x", "Enter") == "/sign-in"
    assert page.run("() => document.querySelector('[role=alert]').textContent") == (
        "That is not the key."
    )
    assert page.cookies() == []
    assert box.answers(page) == REFUSED


@pytest.mark.parametrize("order", [["--sign-out"], ["new"]])
def test_all_browsers_are_signed_out_by_a_command(page: Page, box: Box, order: list[str]) -> None:
    """The running server sees it at the next request."""
    assert box.answers(page) == REFUSED
    assert page.run(SIGN_IN, KEY) == "signed in"
    assert box.answers(page) == SERVED
    box.command("key", *order)
    assert box.answers(page) == REFUSED
    assert page.run(SIGN_IN, box.key()) == "signed in"
    assert box.answers(page) == SERVED


def test_the_form_that_signs_out_forgets_the_cookie(page: Page, box: Box) -> None:
    assert box.answers(page) == REFUSED
    assert page.run(SIGN_IN, KEY) == "signed in"
    assert box.answers(page) == SERVED
    page.run("() => document.querySelector('[action=\"/sign-out\"] button').focus()")
    assert page.submit("Enter") == "/sign-in"
    assert page.cookies() == []
    assert box.answers(page) == REFUSED


def test_plain_http_offers_no_form_and_is_sent_no_cookie(page: Page, box: Box) -> None:
    assert box.answers(page) == REFUSED
    assert page.run(SIGN_IN, KEY) == "signed in"
    page.open(f"http://box.lan:{box.server.port}/sign-in")
    assert page.run("() => document.forms.length") == 0
    assert page.run(ASK, "/v1/models", {}) == 401
    with site() as port:
        page.open(f"http://box.lan:{port}/")
        assert page.run(SENT_COOKIES) == ""
    assert box.answers(page) == SERVED


def test_another_program_on_the_same_host_is_sent_the_cookie_over_https(
    page: Page, box: Box, authority: Authority, tmp_path: Path
) -> None:
    """So no more may be concluded from it than that a browser was let in (see test_attacks)."""
    assert box.answers(page) == REFUSED
    assert page.run(SIGN_IN, KEY) == "signed in"
    with site(certificate_for(authority, ["box.lan"], tmp_path)) as port:
        page.open(f"https://box.lan:{port}/")
        assert page.run(SENT_COOKIES).startswith("__Host-lanscribe=")
