"""Pages that are not the box's own, in a browser that could reach it: none gets anything begun."""

import base64
from pathlib import Path

import pytest

from lanscribe.engines.fake import spoken
from lanscribe.identity.authority import Authority
from tests.browser.chromium import ERROR_PAGE, ChromiumPage
from tests.browser.driving import Page
from tests.browser.scripts import ASK, DIAL, LOAD, SIGN_IN, TRANSCRIBE
from tests.browser.sites import certificate_for, site
from tests.servers import ServeHere, ServerHere
from tests.sounds import by_libsndfile

KEY = "a-key-of-the-tests"
WAVE = base64.b64encode(by_libsndfile(spoken([7]), "WAV", subtype="FLOAT")).decode()
ANOTHER_SITE = "another.example.org"
REBOUND = "rebound.example.net"
"""A name of an attacker, which leads to the box itself."""
OFFER, OFFER_KEY = "realtime", "openai-insecure-api-key."
"""How a browser's WebSocket shows a key."""
INCLUDE = {"credentials": "include"}


@pytest.fixture
def certificate(authority: Authority, tmp_path: Path) -> Path:
    """A certificate of a box, which another program on the same machine may have too."""
    return certificate_for(authority, ["127.0.0.1", "box.lan"], tmp_path)


def started(serve_here: ServeHere, certificate: Path, mode: str) -> ServerHere:
    tls = {"mode": "own", "cert": str(certificate), "key": str(certificate), "port": 0}
    auth = {"mode": mode, "key": KEY}
    return serve_here(tls=tls, auth=auth, log={"level": "debug"})


def secure_base(box: ServerHere) -> str:
    return f"https://127.0.0.1:{box.secure_port}"


def sign_in(page: Page, box: ServerHere) -> None:
    page.open(f"{secure_base(box)}/sign-in")
    assert page.run(SIGN_IN, KEY) == "signed in"


def attack(page: Page, base: str) -> dict[str, object]:
    """What a page gets when it tries everything that needs no key at the box at `base`."""
    models, socket_url = f"{base}/v1/models", f"ws{base.removeprefix('http')}/v1/realtime"
    upload = f"{base}/v1/audio/transcriptions"
    return {
        "socket": page.run(DIAL, socket_url, []),
        "fetch": page.run(ASK, models, {}),
        "fetch with cookies": page.run(ASK, models, INCLUDE),
        "upload": page.run(TRANSCRIBE, upload, WAVE, INCLUDE),
        "blind upload": page.run(TRANSCRIBE, upload, WAVE, {"mode": "no-cors", **INCLUDE}),
        "script": page.run(LOAD, "script", models),
        "picture": page.run(LOAD, "img", models),
    }


def nothing(status: int) -> dict[str, object]:
    """What is left to a page of another origin: the status that refuses it, where it may know."""
    return {
        "socket": "refused",
        "fetch": status,
        "fetch with cookies": "unreadable",
        "upload": "unreadable",
        "blind upload": "unreadable",
        "script": "refused",
        "picture": "refused",
    }


def has_begun(box: ServerHere) -> list[str]:
    """What the box's log says about sessions and files."""
    return [line for line in box.log.splitlines() if ": open (" in line or "a file of" in line]


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_page_of_the_box_gets_everything(
    page: Page, serve_here: ServeHere, certificate: Path, mode: str
) -> None:
    """What the pages below try does work for the box's own, with the cookie in key mode."""
    box = started(serve_here, certificate, mode)
    if mode == "key":
        sign_in(page, box)
    page.open(f"{secure_base(box)}/sign-in")
    got = attack(page, secure_base(box))
    assert got == {
        "socket": "session.created",
        "fetch": 200,
        "fetch with cookies": 200,
        "upload": 200,
        "blind upload": 200,
        "script": "loaded",
        "picture": "refused",  # JSON is none
    }
    assert len(has_begun(box)) == 3
    assert "turned away" not in box.log


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_page_of_another_site(
    page: Page, serve_here: ServeHere, certificate: Path, mode: str
) -> None:
    box = started(serve_here, certificate, mode)
    if mode == "key":
        sign_in(page, box)
    with site() as port:
        page.open(f"http://{ANOTHER_SITE}:{port}/")
        for base in (secure_base(box), box.http_url):
            assert attack(page, base) == nothing(403 if mode == "lan" else 401)
    assert not has_begun(box)
    assert box.log.count("turned away") == 14


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_page_of_another_program_on_the_same_host(
    page: Page, serve_here: ServeHere, certificate: Path, mode: str
) -> None:
    """Browsers count it to the same site, and send the box's cookie with what it asks."""
    box = started(serve_here, certificate, mode)
    if mode == "key":
        sign_in(page, box)
    with site(certificate) as port:
        page.open(f"https://127.0.0.1:{port}/")
        assert attack(page, secure_base(box)) == nothing(403 if mode == "lan" else 401)
    assert not has_begun(box)
    assert box.log.count("turned away") == 7


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_name_that_was_rebound_to_the_box(
    page: Page, serve_here: ServeHere, certificate: Path, mode: str
) -> None:
    """To the browser, the page and the box are then the same site."""
    box = started(serve_here, certificate, mode)
    page.open(f"http://{REBOUND}:{box.port}/")
    before = box.log.count("turned away")
    refused = 403 if mode == "lan" else 401
    assert attack(page, f"http://{REBOUND}:{box.port}") == {
        **nothing(refused),
        "fetch with cookies": refused,
        "upload": refused,
        "blind upload": refused,
    }
    assert not has_begun(box)
    assert box.log.count("turned away") - before == 7


def test_a_frame_of_another_site(
    tab: ChromiumPage, serve_here: ServeHere, certificate: Path
) -> None:
    """No page of the box is shown in one, so nobody types the key or clicks into it."""
    page, box = tab, started(serve_here, certificate, "lan")
    with site(certificate) as port:
        page.open(f"https://127.0.0.1:{port}/")
        own = f"https://127.0.0.1:{port}/framed"
        for path in ("/sign-in", "/trust", "/"):
            page.run(LOAD, "iframe", f"{secure_base(box)}{path}")
        page.run(LOAD, "iframe", own)
        shown = [frame.url for frame in page.tab.frames[1:]]
    assert shown == [ERROR_PAGE] * 3 + [own]


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_page_of_another_site_with_the_key(
    page: Page, serve_here: ServeHere, certificate: Path, mode: str
) -> None:
    """A web client of somebody else, in which a user has typed the key: it may read."""
    box = started(serve_here, certificate, mode)
    base, socket_url = secure_base(box), box.secure_url
    right, wrong = ({"headers": {"Authorization": f"Bearer {key}"}} for key in (KEY, "wrong"))
    with site() as port:
        page.open(f"http://{ANOTHER_SITE}:{port}/")
        assert page.run(ASK, f"{base}/v1/models", right) == 200
        assert page.run(TRANSCRIBE, f"{base}/v1/audio/transcriptions", WAVE, right) == 200
        assert page.run(DIAL, socket_url, [OFFER, f"{OFFER_KEY}{KEY}"]) == "session.created"
        begun = has_begun(box)
        assert page.run(ASK, f"{base}/v1/models", wrong) == 401
        assert page.run(TRANSCRIBE, f"{base}/v1/audio/transcriptions", WAVE, wrong) == 401
        assert page.run(DIAL, socket_url, [OFFER, f"{OFFER_KEY}wrong"]) == "refused"
        assert page.run(ASK, f"{base}/v1/models", {**right, **INCLUDE}) == "unreadable"
    assert len(begun) == 2
    assert has_begun(box) == begun
