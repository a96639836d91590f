"""Reading while somebody speaks: the text follows the voice, but not against the reader."""

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.live_page import LivePage, prepare, wait
from tests.browser.page_box import PageBox

LARGE = "() => localStorage.setItem('lanscribe.size', '300')"
Y = "() => scrollY"
FROM_END = "() => document.documentElement.scrollHeight - innerHeight - scrollY"
NEWEST = "#live button.newest"


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
