"""What the page keeps in the browser: IndexedDB of Chromium and of Firefox."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Running
from tests.browser.driving import Page
from tests.browser.plain_tab import PlainTab, window
from tests.servers import ServerHere

PREPARE = """async (factory) => {
  const { Store } = await import("/pages/app/keep/store.js");
  const refused = { open() { throw new DOMException("no", "InvalidStateError"); } };
  window.warned = [];
  const factories = { disk: indexedDB, refused, absent: undefined };
  window.store = new Store(factories[factory], (why) => warned.push(why));
  window.some = (id, words, more) => ({
    id, kind: "live", title: "", startedMs: 1000, durationS: 1, model: "fake", language: "",
    words: words.split(/(?= )/).map((text, n) => ({ text, startS: n, endS: n + 0.5 })),
    gaps: [], isOpen: false, ...more,
  });
}"""
AWAIT_ERASED = """() => {
  window.erased = new Promise((resolve) => store.watch((id) => id === null && resolve()));
}"""
TITLES = "async () => (await store.list()).map((one) => [one.id, one.title])"


@pytest.fixture
def server(fake_server: ServerHere) -> ServerHere:
    """The shared one: each tab keeps what it keeps for itself."""
    return fake_server


KEEPING = [("chromium", "disk"), ("chromium", "refused"), ("chromium", "absent")]
"""In memory no browser differs."""


@pytest.fixture(params=[*KEEPING, ("firefox", "disk")], ids=" ".join)
def kept(
    request: pytest.FixtureRequest, running: Running, server: ServerHere
) -> Iterator[tuple[Page, str]]:
    """A page with a store, and whether the browser lets it keep anything."""
    name, factory = request.param
    with running.browser(name).page() as page:
        page.open(server.http_url)
        page.run(PREPARE, factory)
        yield page, factory


def test_put_find_rename_remove_and_undo(kept: tuple[Page, str]) -> None:
    page, factory = kept
    page.run("""async () => {
      await store.put(some("a", " The tea is ready."));
      await store.put(some("b", " Der Tee ist fertig.", { startedMs: 2000, title: "Küche" }));
    }""")
    assert page.run(TITLES) == [["b", "Küche"], ["a", ""]]
    assert page.run("async () => await store.get('a')") == page.run(
        "() => some('a', ' The tea is ready.')"
    )
    assert page.run("async () => (await store.find('TEE küche')).map((one) => one.id)") == ["b"]
    page.run("""async () => {
      await store.rename("a", "Mine");
      await store.put(some("a", " The tea is ready. Come", { title: "Not mine" }));
    }""")
    assert page.run(TITLES) == [["b", "Küche"], ["a", "Mine"]]
    page.run("async () => { window.gone = await store.get('a'); await store.remove('a'); }")
    assert page.run(TITLES) == [["b", "Küche"]]
    page.run("async () => { await store.put(gone); await store.rename('none', 'No'); }")
    assert page.run("async () => await store.get('a')") == page.run("() => gone")
    page.run("async () => await store.clear()")
    assert page.run(TITLES) == []
    assert page.run("() => [warned, store.isInMemory]") == (
        [[], False] if factory == "disk" else [["refused"], True]
    )


def test_a_transcript_grows_and_is_there_after_the_page_is_loaded_again(
    page: Page, server: ServerHere
) -> None:
    page.open(server.http_url)
    page.run(PREPARE, "disk")
    page.run("""async () => {
      const words = " word".repeat(4500);
      for (const end of [10, 9995, 10000, 22500]) await store.put(some("a", words.slice(0, end)));
      await store.put(some("b", words));
      await store.put(some("b", " short"));
    }""")
    page.open(server.http_url + "/?again")
    page.run(PREPARE, "disk")
    texts: list[Any] = page.run("""async () => {
      const [a, b] = [await store.get("a"), await store.get("b")];
      return [a.words.length, a.words.at(-1), b.words.map((one) => one.text)];
    }""")
    assert texts == [4500, {"text": " word", "startS": 4499, "endS": 4499.5}, [" short"]]


def test_two_tabs_write_at_once(running: Running, server: ServerHere) -> None:
    chromium = running.browser("chromium")
    with window(chromium) as one:  # type: ignore[arg-type]
        first, second = one.tab(), one.tab()
        for tab in (first, second):
            tab.open(server.http_url)
            tab.run(PREPARE, "disk")
            tab.run(AWAIT_ERASED)
        both = [write(first, "first"), write(second, "second")]
        assert [tab.run("() => written.then(() => true)") for tab in both] == [True, True]
        for tab in both:
            assert sorted(tab.run(TITLES)) == [["first", "renamed"], ["second", ""]]
        first.run("async () => await store.clear()")
        second.run("() => erased")
        assert second.run(TITLES) == []


def write(tab: PlainTab, name: str) -> PlainTab:
    """Begin to write a transcript that grows, and to rename the first."""
    tab.run(
        """(name) => {
          window.written = (async () => {
            for (let count = 1; count < 30; count += 1) {
              await store.put(some(name, " word".repeat(100 * count)));
              await store.rename("first", "renamed");
            }
          })();
        }""",
        name,
    )
    return tab


def test_the_browser_erases_what_is_kept_while_the_page_is_open(
    tab: ChromiumPage, server: ServerHere
) -> None:
    """As a person does who erases the data of the site."""
    tab.open(server.http_url)
    tab.run(PREPARE, "disk")
    tab.run("async () => await store.put(some('a', ' one'))")

    async def erase() -> None:
        devtools = await tab.tab.context.new_cdp_session(tab.tab)
        erased = {"origin": server.http_url, "storageTypes": "indexeddb"}
        await devtools.send("Storage.clearDataForOrigin", erased)

    tab.do(erase())
    tab.run("async () => await store.put(some('b', ' two'))")
    assert tab.run(TITLES) == [["b", ""]]
    assert tab.run("() => warned") == []
