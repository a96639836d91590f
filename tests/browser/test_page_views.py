"""Every view of the page, for everybody: by keyboard, on any screen, in both colour schemes."""

from collections.abc import Iterator
from typing import Literal

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Running
from tests.browser.files_page import FilesPage
from tests.browser.judging import violations
from tests.browser.kept import SEED, TRANSCRIPTS
from tests.browser.page_box import PageBox
from tests.browser.recording import SPEECH

VIEWS = ("live", "files", "past", "settings")
PLACES = (*VIEWS, *(f"past/{one['id']}" for one in TRANSCRIPTS))
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MOST_STEPS = 60
MARK = """() => {
  const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const isOffered = (one) =>
    !one.disabled && one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true });
  const all = [...document.querySelectorAll(kinds)].filter(isOffered);
  for (const one of document.querySelectorAll("[data-step]")) delete one.dataset.step;
  for (const [number, one] of all.entries()) one.dataset.step = number;
  document.activeElement.blur();
  getSelection().removeAllRanges();
  return all.map((one) => [one.outerHTML.slice(0, 120), one.type === "radio" ? one.name : ""]);
}"""
"""Number what the keyboard should reach: each with its group, if it is a radio button."""
FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body || one.tabIndex < 0) return null;
  const box = one.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const isClear = one.contains(top) || top?.contains(one) || [...(one.labels ?? [])].includes(top);
  const style = getComputedStyle(one);
  const inner = one.labels?.[0] ? getComputedStyle(one.labels[0]) : style;
  const isMarked = [style, inner].some((s) => s.outlineStyle !== "none" || s.boxShadow !== "none");
  const step = Number(one.dataset.step ?? -1);
  return { step, html: one.outerHTML.slice(0, 120), isClear, isMarked };
}"""
"""What has the focus: whether it is in sight, and whether one sees that it has it."""

DONE = "() => document.querySelectorAll('#files [data-job=done]').length"


@pytest.fixture(scope="module")
def view(running: Running, shared_box: PageBox) -> Iterator[ChromiumPage]:
    """A tab that keeps transcripts, for all tests; what it complained of at the end is a fault."""
    with running.browser("chromium").page() as tab:
        assert isinstance(tab, ChromiumPage)
        tab.open(shared_box.url())
        tab.run(SEED, TRANSCRIPTS)
        yield tab
        assert tab.complaints == []


def show(view: ChromiumPage, box: PageBox, place: str) -> None:
    """Go there, as a link of the page does; wait until it is filled."""
    view.open(box.url(f"#{place}"))
    if place == "files" and not view.run(DONE):
        files = FilesPage(view)
        files.choose(SPEECH)
        files.wait_done(1)
    if place == "past":
        view.do(view.tab.locator("#past a[href^='#past/']").first.wait_for())
        view.do(view.tab.locator("#past [data-icon=download]").first.wait_for())
    if place.startswith("past/"):
        view.do(view.tab.locator("#past .transcript .settled").first.wait_for())


@pytest.mark.parametrize("place", PLACES)
def test_the_keyboard_reaches_everything_in_sight(
    view: ChromiumPage, shared_box: PageBox, place: str
) -> None:
    view.do(view.tab.set_viewport_size({"width": 390, "height": 700}))
    show(view, shared_box, place)
    offered = view.run(MARK)
    reached: set[int] = set()
    for _ in range(MOST_STEPS):
        view.press("Tab")
        focused = view.run(FOCUSED)
        if focused is None:
            continue  # between the last one and the first
        if focused["step"] in reached:
            break
        assert focused["isClear"], f"covered: {focused['html']}"
        assert focused["isMarked"], f"no sign of the focus: {focused['html']}"
        reached.add(focused["step"])
    groups = {group for step, (_, group) in enumerate(offered) if group and step in reached}
    missed = [
        html
        for step, (html, group) in enumerate(offered)
        if step not in reached and group not in groups
    ]
    assert missed == []
    assert len(reached) > len(VIEWS)


def test_the_keyboard_goes_from_view_to_view(view: ChromiumPage, shared_box: PageBox) -> None:
    view.open(shared_box.url())
    for name in VIEWS[1:]:
        link = view.tab.locator(f"nav a[href='#{name}']")
        view.do(link.focus())
        view.press("Enter")
        view.do(view.tab.locator(f"#{name}-title").wait_for())
        shown = view.run("""() =>
          [...document.querySelectorAll("main > section:not([hidden])")].map((one) => one.id)""")
        assert shown == [name]


@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing_in_either_scheme(
    view: ChromiumPage, shared_box: PageBox, place: str
) -> None:
    show(view, shared_box, place)
    for scheme in SCHEMES:
        view.do(view.tab.emulate_media(color_scheme=scheme))
        assert violations(view) == []


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_wider_than_a_small_screen(
    view: ChromiumPage, shared_box: PageBox, place: str
) -> None:
    """With large text, too."""
    view.do(view.tab.set_viewport_size({"width": 320, "height": 640}))
    show(view, shared_box, place)
    for size in ("200%", "100%"):
        view.run("(size) => { document.documentElement.style.fontSize = size }", size)
        assert view.run("() => document.documentElement.scrollWidth") == 320
