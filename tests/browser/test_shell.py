"""The frame of the page in Chromium: which view an address opens, and what the page tells."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.judging import violations
from tests.browser.live_page import BUTTON, wait
from tests.servers import ServeHere, ServerHere

SHOWN = "() => [...document.querySelectorAll('main > section:not([hidden])')].map((one) => one.id)"
ALL_NAMES = "() => Object.getOwnPropertyNames(Object.prototype)"

COUNT = """() => {
  window.writes = 0;
  const ask = IDBDatabase.prototype.transaction;
  IDBDatabase.prototype.transaction = function (names, mode) {
    window.writes += mode === "readwrite";
    return ask.call(this, names, mode);
  };
  window.drawn = 0;
  new MutationObserver(() => { window.drawn += 1; })
    .observe(document.getElementById("troubles"), { childList: true, subtree: true });
}"""
"""Counts how often the page tries to keep something, and how often a trouble is told or closed."""
TOLD = "() => document.getElementById('troubles').innerText"
UNKEPT = "() => document.querySelector('#live .unkept').textContent"
ON_TOP = """(selector) => {
  const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
  return Boolean(document.elementFromPoint(x + width / 2, y + height / 2).closest(selector));
}"""


@pytest.fixture
def server(serve_here: ServeHere) -> ServerHere:
    return serve_here()


@pytest.fixture
def shell(tab: ChromiumPage, server: ServerHere) -> Iterator[ChromiumPage]:
    """The page; what it complains of is a fault."""
    tab.open(server.http_url)
    yield tab
    assert tab.complaints == []


def test_an_address_that_names_no_view_opens_the_first(
    shell: ChromiumPage, server: ServerHere
) -> None:
    """Also by the names that every object has, and when the page is open already."""
    names = shell.run(ALL_NAMES)
    assert "constructor" in names
    for name in [*names, "live/x", "%F0", "nothing"]:
        shell.run("(name) => { location.hash = name; }", name)
        assert shell.run(SHOWN) == ["live"]
    for name in ("constructor", "__proto__"):
        shell.open("about:blank")
        shell.open(f"{server.http_url}/#{name}")
        assert shell.run(SHOWN) == ["live"]


def test_a_full_disk_is_told_once_beside_the_controls(
    shell: ChromiumPage, server: ServerHere
) -> None:
    """On a phone; the focus stays where it is, and what is closed comes only if it begins anew."""

    def give(quota: dict[str, int]) -> None:
        async def override() -> None:
            devtools = await shell.tab.context.new_cdp_session(shell.tab)
            origin = {"origin": server.http_url}
            await devtools.send("Storage.overrideQuotaForOrigin", {**origin, **quota})

        shell.do(override())

    def wait_writes() -> None:
        before = shell.run("() => window.writes")
        wait(lambda: shell.run("() => window.writes") > before + 2, "nothing is kept")

    shell.do(shell.tab.set_viewport_size({"width": 390, "height": 844}))
    shell.run(COUNT)
    give({"quotaSize": 1})
    shell.do(shell.tab.locator(BUTTON).click())
    wait(lambda: shell.run(TOLD), "the full disk is not told")
    wait_writes()
    assert shell.run("() => window.drawn") == 1
    assert "no room left" in shell.run(TOLD)
    assert "not kept" in shell.run(UNKEPT)
    assert shell.run(ON_TOP, BUTTON)
    assert shell.run("(button) => document.activeElement.matches(button)", BUTTON)
    assert violations(shell) == []
    shell.do(shell.tab.locator("#troubles button").click())
    wait_writes()
    assert (shell.run(TOLD), shell.run("() => window.drawn")) == ("", 2)
    assert "not kept" in shell.run(UNKEPT)
    give({})
    wait(lambda: not shell.run(UNKEPT), "it is never well again")
    give({"quotaSize": 1})
    wait(lambda: shell.run(TOLD), "it is not told anew")
    shell.do(shell.tab.locator(BUTTON).click())


def test_a_short_notice_and_a_lasting_trouble_stand_side_by_side(
    tab: ChromiumPage, server: ServerHere
) -> None:
    """As in a private window."""
    tab.do(tab.tab.add_init_script("Object.defineProperty(window, 'indexedDB', { value: null })"))
    tab.open(f"{server.http_url}/#settings")
    assert "keeps nothing" in tab.run(TOLD)
    tab.run("""async () => {
      const { Notices } = await import("/pages/app/parts/notices.js");
      new Notices(document.getElementById("notices")).show("Copied.");
    }""")
    assert tab.run("() => document.getElementById('notices').innerText") == "Copied."
    assert "keeps nothing" in tab.run(TOLD)
    tab.do(tab.tab.locator("#troubles button").click())
    assert tab.run("() => document.activeElement.id") == "main"
    assert tab.run("() => document.getElementById('notices').innerText") == "Copied."
    assert tab.complaints == []
