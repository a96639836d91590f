"""Makes the pictures of docs/page.md: a real server, and Chromium whose microphone hears speech.

    PYTHONPATH=. .venv/bin/python docs/images/make_page_pictures.py [NAME ...]

Needs Chromium, certutil and the packages of requirements/dev.in. NAME: only these pictures.
"""

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from cryptography.hazmat.primitives.serialization import Encoding

from lanscribe.identity.authority import make
from lanscribe.identity.names import own_names
from tests.browser import chromium
from tests.browser.chromium import Chromium, ChromiumPage
from tests.browser.files_page import FilesPage
from tests.browser.live_page import LivePage, prepare, wait
from tests.browser.page_box import PageBox, page_box
from tests.browser.recording import SPEECH, write_recording

FOLDER = Path(__file__).parent
ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    " Mobile Safari/537.36"
)
QUALITY = 88
Scheme = Literal["light", "dark"]
Screen = dict[str, Any]
PHONE: Screen = {
    "viewport": {"width": 390, "height": 760},
    "device_scale_factor": 2,
    "user_agent": ANDROID,
    "is_mobile": True,
    "has_touch": True,
}
TABLET: Screen = {"viewport": {"width": 820, "height": 1000}, "has_touch": True}
TELEVISION: Screen = {"viewport": {"width": 1920, "height": 1080}}
SIZES = {1920: 200}
"""Size of the words, per cent, as one chooses it for a screen across the room."""


@dataclass(frozen=True)
class Studio:
    """A box and a browser."""

    box: PageBox
    browser: Chromium

    @contextmanager
    def page(self, screen: Screen, scheme: Scheme, place: str = "") -> Iterator[ChromiumPage]:
        """A place of the page on a screen."""
        size = SIZES.get(screen["viewport"]["width"], 100)
        with self.browser.page(**screen, color_scheme=scheme) as page:
            assert isinstance(page, ChromiumPage)
            prepare(page)
            page.do(page.tab.add_init_script(f"localStorage['lanscribe.size'] = {size}"))
            page.open(self.box.url(place))
            yield page

    @contextmanager
    def listening(self, screen: Screen, scheme: Scheme) -> Iterator[tuple[ChromiumPage, LivePage]]:
        """The view "live" after some words."""
        with self.page(screen, scheme) as page:
            live = LivePage(page)
            live.start()
            live.wait_words(26)
            yield page, live


def listening(studio: Studio, screen: Screen, scheme: Scheme, name: str) -> None:
    """While somebody speaks: with words that are not settled yet."""
    with studio.listening(screen, scheme) as (page, live):
        wait(lambda: len(live.look().tentative) > 8, "no tentative words")
        take(page, name)


def behind(studio: Studio, screen: Screen, scheme: Scheme, name: str) -> None:
    """The words come late: here because the network stood still for some seconds."""
    with studio.listening(screen, scheme) as (page, live):
        studio.box.wire.silence()
        live.wait_recorded(live.recorded_s() + 8)
        studio.box.wire.pass_on()
        wait(lambda: live.state() == "behind", "it is never behind")
        take(page, name)


def away(studio: Studio, screen: Screen, scheme: Scheme, name: str) -> None:
    """The box is away, and what is said is kept."""
    with studio.listening(screen, scheme) as (page, live):
        studio.box.stop()
        wait(lambda: live.state() == "away", "it is never away")
        live.wait_recorded(live.recorded_s() + 4)
        take(page, name)
        studio.box.start()


def file(studio: Studio, screen: Screen, scheme: Scheme, name: str) -> None:
    """A recording that is transcribed."""
    with studio.page(screen, scheme, "#files") as page:
        files = FilesPage(page)
        files.choose(SPEECH)
        files.wait_done(1)
        take(page, name)


def past(studio: Studio, screen: Screen, scheme: Scheme, name: str) -> None:
    """Transcripts that the browser keeps."""
    with studio.listening(screen, scheme) as (page, live):
        live.pause()
        files = FilesPage(page)
        files.open()
        files.choose(SPEECH)
        files.wait_done(1)
        page.run("() => { location.hash = '#past' }")
        wait(lambda: page.run("() => !document.getElementById('past').hidden"), "no past")
        take(page, name)


def take(page: ChromiumPage, name: str) -> None:
    """A picture of what the screen shows."""

    async def taken() -> str:
        devtools = await page.tab.context.new_cdp_session(page.tab)
        wanted = {"format": "webp", "quality": QUALITY}
        return str((await devtools.send("Page.captureScreenshot", wanted))["data"])

    (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(page.do(taken())))


PICTURES: dict[str, Callable[..., None]] = {
    "page-phone-listening-light": partial(listening, screen=PHONE, scheme="light"),
    "page-phone-listening-dark": partial(listening, screen=PHONE, scheme="dark"),
    "page-phone-away-light": partial(away, screen=PHONE, scheme="light"),
    "page-phone-past-dark": partial(past, screen=PHONE, scheme="dark"),
    "page-tablet-behind-light": partial(behind, screen=TABLET, scheme="light"),
    "page-tablet-file-dark": partial(file, screen=TABLET, scheme="dark"),
    "page-tablet-past-light": partial(past, screen=TABLET, scheme="light"),
    "page-television-listening-dark": partial(listening, screen=TELEVISION, scheme="dark"),
    "page-television-file-light": partial(file, screen=TELEVISION, scheme="light"),
}


def main(names: list[str]) -> None:
    """Take the pictures."""
    authority = make(own_names("box", []), datetime.now(UTC))
    with TemporaryDirectory() as home, ExitStack() as ends:
        folder = Path(home)
        pem, microphone = folder / "authority.pem", folder / "microphone.wav"
        pem.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        write_recording(microphone)
        box = ends.enter_context(page_box(authority, folder / "box"))
        browser = ends.enter_context(chromium.running([pem], microphone))
        studio = Studio(box, browser)
        for name in names or PICTURES:
            PICTURES[name](studio, name=name)


if __name__ == "__main__":
    main(sys.argv[1:])
