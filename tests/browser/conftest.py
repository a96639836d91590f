"""Chromium and Firefox of the system, started once for all tests of this folder."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lanscribe.identity.authority import Authority, make
from lanscribe.identity.names import own_names
from tests.browser import chromium, firefox
from tests.browser.chromium import ChromiumPage
from tests.browser.driving import Browser, Page
from tests.browser.page_box import PageBox, page_box
from tests.browser.recording import write_recording
from tests.browser.sites import unconstrained
from tests.servers import Parts, ServeHere, ServerHere

BROWSERS = {"chromium": chromium, "firefox": firefox}

StartBox = Callable[..., PageBox]


def needed(name: str) -> str:
    """A browser that the system has. Skips the test where it is absent, but not in CI."""
    program = BROWSERS[name].PROGRAM
    if not Path(program).exists() and not os.environ.get("CI"):
        pytest.skip(f"{program} is absent; bash tests/run.sh installs it")
    return name


@dataclass
class Running:
    """Browsers, each started when it is first asked for."""

    authorities: tuple[Path, ...]
    microphone: Path
    """What Chromium's hears."""
    ends: ExitStack
    _started: dict[tuple[str, bool], Browser] = field(default_factory=dict)

    def browser(self, name: str, *, is_trusting: bool = True) -> Browser:
        """The one that trusts the authorities of the tests, or one that does not."""
        key = (needed(name), is_trusting)
        if key not in self._started:
            authorities = self.authorities if is_trusting else ()
            self._started[key] = self.ends.enter_context(self._running(name, authorities))
        return self._started[key]

    def _running(self, name: str, authorities: tuple[Path, ...]) -> AbstractContextManager[Browser]:
        if name == "chromium":
            return chromium.running(authorities, self.microphone)
        return firefox.running(authorities)


@pytest.fixture(scope="package")
def authority() -> Authority:
    """The authority that the browsers trust."""
    return make(own_names("box", []), datetime.now(UTC))


@pytest.fixture(scope="package")
def boundless(authority: Authority) -> Authority:
    """An authority that the browsers trust too, and that may vouch for any name."""
    return unconstrained(authority)


@pytest.fixture(scope="package")
def running(
    authority: Authority, boundless: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The browsers; none is left when the tests of this folder are through."""
    folder = tmp_path_factory.mktemp("authorities")
    files = folder / "authority.pem", folder / "boundless.pem"
    for file, one in zip(files, (authority, boundless), strict=True):
        file.write_bytes(one.certificate.public_bytes(Encoding.PEM))
    microphone = folder / "microphone.wav"
    write_recording(microphone)
    with ExitStack() as ends:
        yield Running(files, microphone, ends)


@pytest.fixture
def serve_here(serve_here: ServeHere) -> ServeHere:
    """The same, for servers that end though a browser keeps its idle connections open."""

    def start(parts: Parts | None = None, **tables: Mapping[str, Any]) -> ServerHere:
        return serve_here(parts, **{"limits": {"close_timeout_s": 0.2}, **tables})

    return start


@pytest.fixture(params=list(BROWSERS))
def browser(request: pytest.FixtureRequest, running: Running) -> Browser:
    """Each browser, which trusts the authority."""
    return running.browser(request.param)


@pytest.fixture
def page(browser: Browser, serve_here: ServeHere) -> Iterator[Page]:
    """A tab of each browser, which trusts the authority; closed before the servers of the test."""
    with browser.page() as page:
        yield page


@pytest.fixture(params=list(BROWSERS))
def stranger(request: pytest.FixtureRequest, running: Running) -> Browser:
    """Each browser, which does not trust the authority."""
    return running.browser(request.param, is_trusting=False)


@pytest.fixture
def tab(running: Running, serve_here: ServeHere) -> Iterator[ChromiumPage]:
    """A tab of Chromium, which trusts the authority, for what only Chromium is asked."""
    with running.browser("chromium").page() as page:
        assert isinstance(page, ChromiumPage)
        yield page


@pytest.fixture(scope="package")
def box_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared box keeps its identity and its logs."""
    return tmp_path_factory.mktemp("box")


@pytest.fixture(scope="package")
def shared_box(
    authority: Authority, box_folder: Path, fake_server: ServerHere
) -> Iterator[PageBox]:
    """A box with the real engine; each test leaves it running, and its wire open.

    fake_server: begun before it, so it ends later, and then no process of either may be left.
    """
    with page_box(authority, box_folder) as box:
        yield box


@pytest.fixture
def start_box(authority: Authority, tmp_path: Path) -> Iterator[StartBox]:
    """Start boxes of one's own: start_box(auth={"mode": "key", "key": "secret"})."""
    with ExitStack() as ends:
        yield lambda **tables: ends.enter_context(
            page_box(authority, tmp_path / f"box{len(list(tmp_path.iterdir()))}", **tables)
        )
