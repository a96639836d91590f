"""Live captions while the network is really gone: its cable is out for 20 s, and nobody is told."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lanscribe.identity.authority import Authority, save
from tests.browser import chromium
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import needed
from tests.browser.hearing import against_the_recording, lost_or_doubled, shown_by_a_page
from tests.browser.live_page import LivePage, prepare, wait
from tests.browser.recording import write_recording
from tests.server.lan import Lan, lan

AWAY_S = 20
ADDRESS = "10.77.0.11"


@contextmanager
def home(authority: Authority, folder: Path) -> Iterator[Lan]:
    """A network with a box that has the real engine, and the client on which the browser runs."""
    (folder / "state/tls").mkdir(parents=True)
    save(folder / "state/tls", authority)
    variables = {
        "SERVER_HOST": "0.0.0.0",
        "SERVER_STATE_DIR": folder / "state",
        "LOG_FILE": folder / "log",
        "TLS_MODE": "auto",
        "DISCOVERY_ENABLED": "false",
    }
    assignments = [f"LANSCRIBE_{name}={value}" for name, value in variables.items()]
    serve = [sys.executable, "-m", "lanscribe", "serve", "--engine", "embedded", "--port", "8000"]
    with lan() as network:
        network.add_box(1)
        network.start("box1", "env", *assignments, *serve, log=folder / "banner")
        wait(lambda: "  stop" in (folder / "banner").read_text(), "the box does not start")
        yield network


@contextmanager
def tab_in(network: Lan, authority: Authority, folder: Path) -> Iterator[ChromiumPage]:
    """A tab of a browser that runs on the client."""
    pem, microphone, program = (folder / name for name in ("pem", "microphone.wav", "chromium"))
    pem.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    write_recording(microphone)
    into = shlex.join([*network.into("client"), chromium.PROGRAM])
    program.write_text(f'#!/bin/sh\nexec {into} "$@"\n')
    program.chmod(0o755)
    with chromium.running([pem], microphone, program) as browser, browser.page() as page:
        assert isinstance(page, ChromiumPage)
        prepare(page)
        page.open(f"https://{ADDRESS}:8443/")
        yield page


@pytest.mark.long
def test_twenty_seconds_without_network_lose_nothing(authority: Authority, tmp_path: Path) -> None:
    needed("chromium")
    with home(authority, tmp_path) as network, tab_in(network, authority, tmp_path) as page:
        live = LivePage(page)
        live.start()
        live.wait_words(8)
        network.run("client", "ip link set to1 down")
        live.wait_recorded(live.recorded_s() + AWAY_S)
        before = live.count()
        network.run("client", "ip link set to1 up")
        live.wait_words(before + 16)
        live.pause()
        (kept,) = live.kept()
        assert lost_or_doubled(against_the_recording(shown_by_a_page(kept))) == []
        assert live.recorded_s() > AWAY_S
        assert [gap["code"] for gap in kept["gaps"]] in ([], ["paused"])
