"""The views "past" and "settings" in Chromium, and what a reader takes away from them."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.judging import violations
from tests.servers import ServerHere

FILL = """async (names) => {
  const { Store } = await import("/pages/app/keep/store.js");
  window.store ??= new Store(indexedDB, () => {});
  const noon = new Date().setHours(12, 0, 0, 0);
  for (const [n, [id, title, text]] of names.entries()) {
    await store.put({
      id, title, kind: "live", startedMs: noon - n * 86_400_000, durationS: 75, model: "fake",
      language: "en", isOpen: false, gaps: [{ startS: 60, endS: 70, code: "no_sound" }],
      words: text.split(/(?= )/).map((word, i) => ({ text: word, startS: i, endS: i + 0.5 })),
    });
  }
}"""
TEXTS = [
    ["a", "", " Good morning, everybody. Let us begin with the garden."],
    ["b", "Küche/Tee", " Der Tee ist fertig."],
    ["c", "Mill", " The baker of the old mill."],
]
ROWS = (
    "() => [...document.querySelectorAll('#past li')].map((one) => one.innerText.split('\\n')[0])"
)
FOCUSED = "() => (document.activeElement.ariaLabel || document.activeElement.innerText).trim()"


@pytest.fixture
def server(fake_server: ServerHere) -> ServerHere:
    """The shared one: each tab keeps what it keeps for itself."""
    return fake_server


@pytest.fixture
def past(tab: ChromiumPage, server: ServerHere) -> Iterator[ChromiumPage]:
    """The list with three transcripts; what the page complains of is a fault."""
    tab.open(server.http_url + "/#past")
    tab.run(FILL, TEXTS)
    shown(tab, "Mill")
    yield tab
    assert tab.complaints == []


def shown(page: ChromiumPage, text: str) -> None:
    """Wait until the view "past" shows this, which is no part of a longer text."""
    page.do(page.tab.locator("#past").get_by_text(text, exact=True).first.wait_for())


def click(page: ChromiumPage, name: str) -> None:
    """Press the button or the link with this name."""
    button = page.tab.get_by_role("button", name=name, exact=True)
    link = page.tab.get_by_role("link", name=name)
    page.do(button.or_(link).first.click())


def downloaded(page: ChromiumPage, name: str, folder: Path) -> Path:
    """The file that pressing a button brings."""

    async def saved() -> Path:
        async with page.tab.expect_download() as download:
            await page.tab.get_by_role("button", name=name).click()
        file = await download.value
        path = folder / file.suggested_filename
        await file.save_as(path)
        return path

    return page.do(saved())


def test_what_another_tab_keeps_is_listed_at_once(past: ChromiumPage) -> None:
    garden = "Good morning, everybody. Let us begin with the garden."
    assert past.run(ROWS) == [garden, "Küche/Tee", "Mill"]
    past.run(FILL, [["new", "Just now", " Hello."]])
    shown(past, "Just now")


def test_words_are_found(past: ChromiumPage) -> None:
    past.do(past.tab.get_by_label("Search by words").fill("BAKER mill"))
    shown(past, "1 transcript found")
    assert past.run(ROWS) == ["Mill"]
    assert past.run("() => document.querySelector('mark').textContent") == "baker"
    past.do(past.tab.get_by_label("Search by words").fill("nowhere"))
    shown(past, "0 transcripts found")
    past.do(past.tab.get_by_label("Search by words").fill(""))
    shown(past, "Küche/Tee")


def test_delete_and_undo_in_the_list_keep_the_focus_in_place(past: ChromiumPage) -> None:
    click(past, "Delete “Mill”")
    shown(past, "Deleted: Mill")
    past.do(past.tab.locator(":focus", has_text="Undo").wait_for())
    assert past.run("async () => (await store.list()).length") == 2
    past.press("Enter")
    shown(past, "Mill")
    past.do(past.tab.locator("a:focus", has_text="Mill").wait_for())
    assert past.run("async () => (await store.get('c')).words.length") == 6


def test_the_last_one_comes_back_too(past: ChromiumPage) -> None:
    past.run("async () => { await store.remove('a'); await store.remove('b'); }")
    click(past, "Delete “Mill”")
    click(past, "Undo")
    past.do(past.tab.locator("a:focus", has_text="Mill").wait_for())


def test_open_rename_and_delete_one(past: ChromiumPage) -> None:
    click(past, "Küche/Tee")
    past.do(past.tab.locator("h1:focus", has_text="Küche/Tee").wait_for())
    click(past, "Rename")
    past.do(past.tab.get_by_label("Name").fill("Teatime"))
    past.press("Escape")
    assert past.run(FOCUSED) == "Rename"
    past.press("Enter")
    past.do(past.tab.get_by_label("Name").fill("Teatime"))
    past.press("Enter")
    past.do(past.tab.locator("h1", has_text="Teatime").wait_for())
    assert past.run(FOCUSED) == "Rename"
    past.do(past.tab.go_back())
    past.do(past.tab.locator("a:focus", has_text="Teatime").wait_for())
    past.press("Enter")
    click(past, "Delete")
    shown(past, "Deleted: Teatime")
    past.do(past.tab.locator("button:focus", has_text="Undo").wait_for())


def test_one_that_another_tab_deletes_is_said_to_be_gone(past: ChromiumPage) -> None:
    click(past, "Mill")
    past.do(past.tab.locator("h1", has_text="Mill").wait_for())
    past.run("async () => await store.rename('c', 'Windmill')")
    past.do(past.tab.locator("h1", has_text="Windmill").wait_for())
    past.run("async () => await store.remove('c')")
    shown(past, "This transcript is not here")


def test_all_as_one_file(past: ChromiumPage, tmp_path: Path) -> None:
    path = downloaded(past, "Download all", tmp_path)
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        names = sorted(name[17:] for name in opened.namelist())
        garden = "Good morning, everybody. Let us begin with the garden"
        assert names == sorted(
            f"{title}.{kind}" for title in (garden, "Küche Tee", "Mill") for kind in ("txt", "json")
        )
        tea = next(name for name in opened.namelist() if name.endswith("Tee.json"))
        assert json.loads(opened.read(tea))["text"] == "Der Tee ist fertig."
        text = opened.read(tea.replace(".json", ".txt")).decode()
    assert text.startswith("Der Tee ist fertig.\n\n[No sound from 12:01:00")


@pytest.mark.parametrize(("kind", "begins"), [("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n")])
def test_one_as_a_file(past: ChromiumPage, tmp_path: Path, kind: str, begins: str) -> None:
    click(past, "Mill")
    past.do(past.tab.locator("#past summary").click())
    path = downloaded(past, f".{kind}", tmp_path)
    assert path.name.endswith(f" Mill.{kind}")
    assert path.read_text(encoding="utf-8").startswith(begins)
    assert past.run(FOCUSED) == "Download"


def test_copied_text_is_in_the_clipboard(past: ChromiumPage) -> None:
    past.do(past.tab.context.grant_permissions(["clipboard-read", "clipboard-write"]))
    click(past, "Mill")
    click(past, "Copy")
    past.do(past.tab.get_by_text("The text is in the clipboard.").wait_for())
    said = past.run("() => navigator.clipboard.readText()")
    assert said.startswith("The baker of the old mill.\n")


def test_copied_over_plain_http_too(past: ChromiumPage, server: ServerHere) -> None:
    past.do(past.tab.context.grant_permissions(["clipboard-read"]))
    past.open(f"http://lanscribe.local:{server.port}/#past")
    past.run(FILL, TEXTS)
    click(past, "Mill")
    click(past, "Copy")
    past.do(past.tab.get_by_text("The text is in the clipboard.").wait_for())
    past.open(server.http_url + "/#past")
    assert past.run("() => navigator.clipboard.readText()").startswith("The baker")


def test_all_are_deleted_only_after_a_yes(past: ChromiumPage) -> None:
    click(past, "Delete all")
    assert past.run(FOCUSED) == "Cancel"
    past.press("Escape")
    assert past.run(FOCUSED) == "Delete all"
    past.press("Enter")
    past.do(past.tab.locator("dialog").get_by_role("button", name="Delete all").click())
    past.do(past.tab.get_by_text("Nothing here yet.").wait_for())
    assert past.run("async () => await store.list()") == []


@pytest.mark.parametrize("hours", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_many_hours_are_listed_and_searched(
    tab: ChromiumPage, server: ServerHere, hours: int
) -> None:
    """Each has the words of an hour."""
    tab.open(server.http_url + "/#live")
    fill = """async (hours) => {
      const { Store } = await import("/pages/app/keep/store.js");
      const store = new Store(indexedDB, () => {});
      const words = Array.from({ length: 9000 }, (_, n) => ({ text: " word", startS: n, endS: n }));
      const about = { kind: "live", durationS: 3600, model: "", language: "", gaps: [], title: "" };
      for (let n = 0; n < hours; n += 1) {
        words[8000] = { text: ` number${n}.`, startS: 8000, endS: 8000 };
        await store.put({ ...about, id: `id${n}`, startedMs: n * 3_600_000, words, isOpen: false });
      }
    }"""
    tab.run(fill, hours)
    tab.run("() => { location.hash = 'past'; }")
    tab.do(tab.tab.get_by_text(f"{hours:,} transcripts").wait_for())
    assert len(tab.run(ROWS)) == hours
    tab.do(tab.tab.get_by_label("Search by words").fill(f"number{hours - 17}"))
    shown(tab, "1 transcript found")
    assert tab.run("() => document.querySelector('#past li a').hash") == f"#past/id{hours - 17}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_more_contrast(
    past: ChromiumPage, server: ServerHere, scheme: str
) -> None:
    """With the usual contrast, test_page_views.py asks it."""
    choose = "(...both) => localStorage.setItem(both[0], JSON.stringify(both[1]))"
    past.run(choose, "lanscribe.scheme", scheme)
    past.run(choose, "lanscribe.contrast", "more")
    for place, title in (("", "Past"), ("/c", "Mill"), ("/none", "This transcript is not here")):
        past.open("about:blank")
        past.open(f"{server.http_url}/#past{place}")
        past.do(past.tab.locator("#past-title", has_text=title).wait_for())
        assert violations(past) == []


def test_choices_hold_at_once_and_for_the_next_visit(tab: ChromiumPage, server: ServerHere) -> None:
    tab.open(server.http_url + "/#settings")
    for name in ("Dark", "More"):
        tab.do(tab.tab.get_by_label(name, exact=True).check())
    size = tab.tab.get_by_label("Size of the words")
    tab.do(size.focus())
    tab.press("End")
    look = """() => {
      const { scheme, contrast } = document.documentElement.dataset;
      const size = (one) => parseFloat(getComputedStyle(document.querySelector(one)).fontSize);
      return [scheme, contrast, size(".transcript") / size("body")];
    }"""
    assert tab.run(look) == ["dark", "more", pytest.approx(1.125 * 3)]
    tab.open("about:blank")
    tab.open(server.http_url + "/#settings")
    assert tab.run(look) == ["dark", "more", pytest.approx(1.125 * 3)]
    assert tab.run("() => getComputedStyle(document.body).colorScheme") == "dark"
    assert tab.run("() => document.querySelector('[value=dark]').checked")


def test_the_language_changes_when_the_reader_says_so(
    tab: ChromiumPage, server: ServerHere
) -> None:
    tab.open(server.http_url + "/#settings")
    tab.do(tab.tab.get_by_label("Language of this page").select_option("de"))
    assert tab.run("() => document.querySelector('h1').textContent") == "Live"
    click(tab, "Load it again now")
    tab.do(tab.tab.locator("#settings h1", has_text="Einstellungen").wait_for())
    assert tab.run("() => document.documentElement.lang") == "de"


@pytest.mark.parametrize("place", ["past", "past/b", "settings"])
def test_all_is_reached_at_400_percent_and_with_large_words(
    past: ChromiumPage, server: ServerHere, place: str
) -> None:
    """A window of 1280 by 1024 at 400 % is one of 320 by 256."""
    past.do(past.tab.set_viewport_size({"width": 320, "height": 256}))
    past.run("() => localStorage.setItem('lanscribe.size', '300')")
    past.open("about:blank")
    past.open(f"{server.http_url}/#{place}")
    past.do(past.tab.locator("section:not([hidden]) h1").wait_for())
    assert past.run("() => document.documentElement.scrollWidth") == 320
    nav = past.run("() => document.getElementById('head').getBoundingClientRect().height")
    assert nav < 100
    assert past.run("() => getComputedStyle(document.getElementById('head')).position") == "static"
