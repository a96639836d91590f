"""Live captions in Firefox, whose microphone is a sound card of the test."""

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from lanscribe.identity.authority import Authority
from tests.browser import firefox
from tests.browser.conftest import needed
from tests.browser.hearing import (
    against_the_recording,
    differences,
    heard_by_a_program,
    lost_or_doubled,
    shown_by_a_page,
)
from tests.browser.live_page import LivePage
from tests.browser.page_box import PageBox
from tests.browser.recording import SPEECH
from tests.clients.conftest import sound_card as sound_card  # noqa: PLC0414
from tests.clients.sound import SoundCard


def test_firefox_hears_a_sound_card(
    authority: Authority, shared_box: PageBox, sound_card: SoundCard, tmp_path: Path
) -> None:
    needed("firefox")
    pem = tmp_path / "authority.pem"
    pem.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    with firefox.running([pem], sound_card.environment) as browser, browser.page() as page:
        page.open(shared_box.url())
        live = LivePage(page)
        live.start()
        sound_card.play(SPEECH)
        live.pause()
        (kept,) = live.kept()
        sound = live.sound()
    heard = heard_by_a_program(shared_box.server.url, sound)
    assert differences(shown_by_a_page(kept), heard) == []
    assert lost_or_doubled(against_the_recording(heard)) == []
