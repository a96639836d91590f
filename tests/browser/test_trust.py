"""A box whose certificate is its own, in browsers that trust its authority and in others."""

import base64
import socket
import ssl
import time
from pathlib import Path

import pytest

from lanscribe.engines.fake import spoken
from lanscribe.identity.authority import Authority, save
from lanscribe.speech.audio import samples_to_pcm16
from tests.browser.chromium import ChromiumPage
from tests.browser.driving import Browser, Page, Refused
from tests.browser.scripts import DIAL, LISTEN, MICROPHONE, SPEAK, SPEAK_ON
from tests.servers import Parts, ServeHere, ServerHere
from tests.support import DEADLINE_S, counting

UNKNOWN_ISSUER = {"chromium": "ERR_CERT_AUTHORITY_INVALID", "firefox": "SEC_ERROR_UNKNOWN_ISSUER"}
"""What browsers call it when nobody whom they trust has signed a certificate."""
WRONG_NAME = {"ERR_CERT_COMMON_NAME_INVALID", "SSL_ERROR_BAD_CERT_DOMAIN"}
NAMES = ("127.0.0.1", "localhost", "lanscribe.local", "box.local", "box.lan", "box.fritz.box")


@pytest.fixture
def state_dir(authority: Authority, tmp_path: Path) -> Path:
    """The state of a box that has the authority of the tests."""
    folder = tmp_path / "state"
    (folder / "tls").mkdir(parents=True)
    save(folder / "tls", authority)
    return folder


@pytest.fixture
def box(serve_here: ServeHere, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHere:
    """A box called box that makes its certificate by itself."""
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    return serve_here(
        Parts(look_every_s=0.1),
        server={"state_dir": str(state_dir)},
        tls={"mode": "auto", "port": 0},
    )


def test_every_name_of_the_box_is_trusted(page: Page, box: ServerHere) -> None:
    for name in NAMES:
        page.open(f"https://{name}:{box.secure_port}/trust")
        assert page.run("() => [location.hostname, isSecureContext]") == [name, True]


def test_a_page_of_the_box_gets_the_microphone_and_a_session(page: Page, box: ServerHere) -> None:
    page.open(f"https://lanscribe.local:{box.secure_port}/trust")
    assert page.run(MICROPHONE) == ["audio", "live", False]
    url = f"wss://lanscribe.local:{box.secure_port}/v1/realtime"
    assert page.run(DIAL, url, []) == "session.created"


def test_the_microphone_hears(tab: ChromiumPage, box: ServerHere) -> None:
    """Not in Firefox, which needs a sound card to run an AudioContext."""
    tab.open(f"https://lanscribe.local:{box.secure_port}/trust")
    assert tab.run(LISTEN) > 0.01


def test_plain_http_gives_no_microphone(page: Page, box: ServerHere) -> None:
    """Which is why there is https at all; a browser excepts the machine it runs on."""
    page.open(f"http://lanscribe.local:{box.port}/trust")
    assert page.run("() => [isSecureContext, navigator.mediaDevices ?? null]") == [False, None]


def test_a_browser_that_does_not_trust_the_authority_refuses(
    stranger: Browser, box: ServerHere
) -> None:
    with stranger.page() as page:
        for name in ("127.0.0.1", "lanscribe.local"):
            with pytest.raises(Refused) as refusal:
                page.open(f"https://{name}:{box.secure_port}/trust")
            assert refusal.value.args == (UNKNOWN_ISSUER[stranger.name],)


def test_a_session_outlives_its_certificate(page: Page, box: ServerHere, state_dir: Path) -> None:
    """The next connection shows the new one, without a warning."""
    other = f"https://lanscribe-2.local:{box.secure_port}/trust"
    with pytest.raises(Refused) as refusal:
        page.open(other)
    assert refusal.value.args[0] in WRONG_NAME
    page.open(f"https://box.lan:{box.secure_port}/trust")
    url = f"wss://box.lan:{box.secure_port}/v1/realtime"
    assert page.run(SPEAK, url, "fake-numbers", chunks(range(1, 50))).startswith("1")
    before = shown(box)
    (state_dir / "name").write_text("lanscribe-2\n", encoding="ascii")
    until = time.monotonic() + DEADLINE_S
    while shown(box) == before:
        assert time.monotonic() < until, "the certificate stayed the same"
    assert page.run(SPEAK_ON, chunks(range(50, 100))) == counting(range(1, 100))
    page.open(f"https://box.lan:{box.secure_port}/trust")
    page.open(other)


def shown(box: ServerHere) -> str:
    """The certificate that a new connection is shown (PEM)."""
    return ssl.get_server_certificate(("127.0.0.1", box.secure_port))


def chunks(numbers: range) -> list[str]:
    """Sound in which the fake engine hears these numbers, as a client sends it."""
    return [base64.b64encode(samples_to_pcm16(spoken([one]))).decode() for one in numbers]
