"""Reading while somebody speaks: the text follows the voice, but not against the reader."""

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.live_page import LivePage, prepare, wait
from tests.browser.page_box import PageBox

LARGE = "() => localStorage.setItem('lanscribe.size', '300')"
Y = "() => scrollY"
FROM_END = "() => document.documentElement.scrollHeight - innerHeight - scrollY"
NEWEST = "#live button.newest"
LINE_PX = 30
COVERED = """() => {
  const box = (one) => one.getBoundingClientRect();
  const [newest, bar] = ["newest", "live-bar"].map((name) => {
    return box(document.querySelector(`#live .${name}`));
  });
  const isOver = ({ top, bottom }) =>
    top < Math.min(newest.bottom, bar.top) && bottom > newest.top;
  const buttons = [...document.querySelectorAll("#live .tools button")];
  const covered = buttons.filter((one) => one.checkVisibility() && isOver(box(one)));
  return covered.map((one) => one.textContent);
}"""
"""The buttons at the same height as the one that leads to the newest words."""


SEEN = """() => {
  const last = (selector) => [...document.querySelectorAll(selector)].at(-1);
  const box = (selector) => last(selector)?.getBoundingClientRect();
  const [bar, button, words] = ["#live .live-bar", "#live .record", "#live .said"].map(box);
  const isPressable = button.top >= 0 && button.bottom <= innerHeight;
  return { isPressable, y: scrollY, end: words?.bottom, room: bar.top };
}"""
"""Whether the button is in sight; where the newest words end, and where the bar below begins."""


@pytest.fixture
def live(tab: ChromiumPage, shared_box: PageBox) -> LivePage:
    """The live view on a small screen, with words so large that few have room."""
    tab.do(tab.tab.set_viewport_size({"width": 390, "height": 480}))
    prepare(tab)
    tab.open(shared_box.url())
    tab.run(LARGE)
    tab.open(shared_box.url())
    return LivePage(tab)


def test_the_text_follows_the_voice_until_the_reader_scrolls_up(
    tab: ChromiumPage, live: LivePage
) -> None:
    live.start()
    wait(lambda: live.count() >= 6 and tab.run(Y) > 200, "there is nothing to scroll")
    wait(lambda: abs(tab.run(FROM_END)) < 2, "it does not follow")
    assert not tab.do(tab.tab.locator(NEWEST).is_visible())

    tab.do(tab.tab.mouse.move(200, 100))
    tab.do(tab.tab.mouse.wheel(0, -150))
    tab.do(tab.tab.locator(NEWEST).wait_for())
    stood, count = tab.run(Y), live.count()
    live.wait_words(count + 3)
    assert tab.run(Y) == stood

    tab.do(tab.tab.click(NEWEST))
    wait(lambda: abs(tab.run(FROM_END)) < 2, "it does not follow again")
    live.pause()


def test_at_400_percent_the_button_and_the_newest_words_are_in_sight(
    tab: ChromiumPage, shared_box: PageBox
) -> None:
    """A window of 1280 by 1024 has 320 by 256 pixels then."""
    tab.do(tab.tab.set_viewport_size({"width": 320, "height": 256}))
    tab.open(shared_box.url())
    live = LivePage(tab)
    seen = tab.run(SEEN)
    assert seen["isPressable"]
    assert seen["y"] == 0
    assert not tab.do(tab.tab.locator(NEWEST).is_visible())
    live.start()
    for count in (5, 9):
        live.wait_words(count)
        seen = tab.run(SEEN)
        assert seen["isPressable"]
        assert LINE_PX <= seen["end"] <= seen["room"] + LINE_PX
    live.pause()


def test_the_button_to_the_newest_words_covers_nothing_else(
    tab: ChromiumPage, live: LivePage
) -> None:
    live.start()
    wait(lambda: live.count() >= 8 and tab.run(Y) > 200, "there is nothing to scroll")
    live.pause()
    tab.do(tab.tab.mouse.move(200, 100))
    for _ in range(8):
        tab.do(tab.tab.mouse.wheel(0, -60))
        assert tab.run(COVERED) == []
    tab.do(tab.tab.locator(NEWEST).wait_for())
    assert tab.run(COVERED) == []


def test_without_https_the_page_says_why_it_hears_nothing(
    tab: ChromiumPage, shared_box: PageBox
) -> None:
    tab.open(shared_box.plain_url())
    tab.do(tab.tab.locator("#live a[href='/trust']").wait_for())
    assert "https" in tab.do(tab.tab.locator("#live").inner_text())
    assert not tab.do(tab.tab.locator("#live button.record").is_visible())


def test_a_pause_is_marked_and_the_talk_goes_on(tab: ChromiumPage, live: LivePage) -> None:
    live.start()
    live.wait_words(2)
    live.pause()
    before = live.words()
    live.start()
    live.wait_words(len(before) + 2)
    live.pause()
    assert live.words()[: len(before)] == before
    (kept,) = live.kept()
    assert [gap["code"] for gap in kept["gaps"]][:1] == ["paused"]
    assert tab.do(tab.tab.locator("#live .gap[data-code=paused]").count()) >= 1
