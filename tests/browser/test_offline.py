"""The page when its box is away, and after an upgrade, in both browsers: what its worker keeps."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lanscribe.server import pages
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import StartBox
from tests.browser.driving import Page
from tests.browser.page_box import PageBox
from tests.browser.scripts import SIGN_IN

KEY, OTHER_KEY = "a-key-of-the-tests", "another-key-of-the-tests"
NAMES_OF_VIEWS = "() => Array.from(document.querySelectorAll('nav a'), (one) => one.textContent)"
VIEWS = ["Live", "Files", "Past", "Settings"]
KEPT = """async () => {
  const registration = await navigator.serviceWorker.ready;
  await registration.update().catch(() => {});
  const newest = registration.installing ?? registration.waiting ?? registration.active;
  await new Promise((resolve) => {
    const look = () => newest.state === "activated" && resolve();
    newest.addEventListener("statechange", look);
    look();
  });
  const found = [];
  for (const name of await caches.keys()) {
    for (const request of await (await caches.open(name)).keys()) found.push(request.url);
  }
  return found.map((url) => new URL(url).pathname);
}"""
"""The paths that are kept, once the newest worker keeps all of its own."""
READ = "async (path) => { await (await fetch(path)).text(); }"

Upgrade = Callable[[str], None]


@pytest.fixture
def start_box(start_box: StartBox) -> StartBox:
    """The same, for boxes that nobody speaks to."""
    return lambda **tables: start_box(engine={"name": "fake"}, **tables)


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers that wait for their box as long as it takes; the folder of the pages.

    On a busy machine a box may take longer than people want to wait, and the kept page is shown.
    """
    folder = tmp_path / "pages"
    shutil.copytree(Path(pages.__file__).parent, folder)
    change(folder / "app/worker.js", "LONGEST_MS = 3000", "LONGEST_MS = 600_000")
    monkeypatch.setattr(pages, "_FOLDER", folder)
    return folder


@pytest.fixture
def upgrade(patient: Path, monkeypatch: pytest.MonkeyPatch) -> Upgrade:
    """upgrade(name): the boxes that start from then on call the view of files so."""

    def to(name: str) -> None:
        folder = patient.with_name(f"pages-{name}")
        shutil.copytree(patient, folder)
        change(folder / "app/strings/en.js", '"nav.files": "Files"', f'"nav.files": "{name}"')
        monkeypatch.setattr(pages, "_FOLDER", folder)

    return to


def change(file: Path, text: str, other: str) -> None:
    """Replace a text, which is there."""
    before = file.read_text(encoding="utf-8")
    assert text in before
    file.write_text(before.replace(text, other), encoding="utf-8")


def opened(page: Page, box: PageBox) -> list[str]:
    """The names of the views in the page, newly opened."""
    page.open(box.url())
    names: list[str] = page.run(NAMES_OF_VIEWS)
    return names


def test_the_page_opens_when_the_box_is_away(page: Page, start_box: StartBox) -> None:
    box = start_box()
    assert opened(page, box) == VIEWS
    page.run(KEPT)
    box.stop()
    assert opened(page, box) == VIEWS
    box.start()
    assert opened(page, box) == VIEWS


def test_the_page_opens_when_nothing_answers(tab: ChromiumPage, start_box: StartBox) -> None:
    box = start_box()
    opened(tab, box)
    tab.run(KEPT)
    box.wire.cut()
    box.wire.silence()
    assert opened(tab, box) == VIEWS
    box.wire.pass_on()


def test_nothing_is_old_after_an_upgrade(page: Page, start_box: StartBox, upgrade: Upgrade) -> None:
    box = start_box()
    opened(page, box)
    page.run(KEPT)
    upgrade("Second")
    box.restart()
    assert opened(page, box)[1] == "Second"
    kept = page.run(KEPT)
    assert len(kept) == len(set(kept))  # of one version
    box.stop()
    assert opened(page, box)[1] == "Second"


def test_an_upgrade_reaches_all_tabs(
    tab: ChromiumPage, start_box: StartBox, upgrade: Upgrade
) -> None:
    """One stays open with what it has, and does not hold the others back."""
    box = start_box()
    opened(tab, box)
    tab.run(KEPT)
    other = tab.beside()
    upgrade("Second")
    box.restart()
    assert opened(other, box)[1] == "Second"
    other.run(KEPT)
    box.stop()
    assert opened(other, box)[1] == "Second"
    assert tab.run(NAMES_OF_VIEWS) == VIEWS
    assert opened(tab, box)[1] == "Second"


def test_only_the_files_of_the_page_are_kept(tab: ChromiumPage, start_box: StartBox) -> None:
    box = start_box()
    opened(tab, box)
    before = tab.run(KEPT)
    for path in ("/v1/models", "/health", "/trust", "/none", "/pages/none.js", "/docs", "/?a=b"):
        tab.run(READ, path)
    for place in ("trust", "sign-in", "docs"):
        tab.open(box.url(place))
    kept = tab.run(KEPT)
    assert sorted(kept) == sorted(before)
    assert {path for path in kept if not path.startswith("/pages/")} == {"/"}


@pytest.mark.usefixtures("patient")
def test_a_refusal_is_shown_and_not_kept(tab: ChromiumPage, start_box: StartBox) -> None:
    box = start_box(auth={"mode": "key", "key": KEY})
    assert opened(tab, box) == []
    tab.open(box.url("sign-in"))
    assert tab.run(SIGN_IN, KEY) == "signed in"
    assert opened(tab, box) == VIEWS
    tab.run(KEPT)
    box.restart(auth={"mode": "key", "key": OTHER_KEY})
    assert opened(tab, box) == []
    assert tab.run("() => document.title") == "This box asks for its key · lanscribe"
    box.stop()
    assert opened(tab, box) == VIEWS


def test_over_http_nothing_is_kept(tab: ChromiumPage, start_box: StartBox) -> None:
    box = start_box()
    tab.open(box.plain_url(name="127.0.0.1"))
    assert tab.run(NAMES_OF_VIEWS) == VIEWS
    assert tab.run("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0
