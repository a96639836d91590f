"""Signing in by the page, and what the browser does with the cookie."""

import time
from pathlib import Path

import pytest

from tests.browser.authority import Authority
from tests.browser.driving import Page
from tests.browser.scripts import ASK, DIAL
from tests.browser.sites import certificate_for
from tests.servers import ServeHere, ServerHere

KEY = "a-key-of-the-tests"
DAYS_S = 86_400


class Box:
    """A box in key mode, over https."""

    def __init__(self, server: ServerHere, key_file: Path) -> None:
        self.server = server
        self.key_file = key_file
        self.url = f"https://127.0.0.1:{server.secure_port}"
        self.socket_url = f"wss://127.0.0.1:{server.secure_port}/v1/realtime"

    def answers(self, page: Page) -> tuple[object, object]:
        """What fetch and a WebSocket without a key get on a page of the box."""
        page.open(f"{self.url}/sign-in")
        return page.run(ASK, "/v1/models", {}), page.run(DIAL, self.socket_url, [])


SERVED, REFUSED = (200, "session.created"), (401, "refused")


@pytest.fixture
def box(serve_here: ServeHere, authority: Authority, tmp_path: Path) -> Box:
    certificate = certificate_for(authority, ["127.0.0.1", "box.lan"], tmp_path)
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
    page.press(*KEY, "Enter")
    page.arrive("/trust")
    (cookie,) = page.cookies()
    assert (cookie.name, cookie.domain, cookie.path) == ("__Host-lanscribe", "127.0.0.1", "/")
    assert cookie.is_secure
    assert cookie.is_http_only
    assert cookie.same_site == "strict"
    assert 89 * DAYS_S < cookie.expires_s - time.time() < 91 * DAYS_S
    assert page.run("() => document.cookie") == ""
    assert box.answers(page) == SERVED
