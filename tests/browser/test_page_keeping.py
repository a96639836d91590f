"""What becomes of a paused live transcript: it is kept once, finished, and gone if deleted."""

from typing import Any

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.live_page import BUTTON, LivePage, prepare, wait
from tests.browser.page_box import PageBox

NEW = "#live .tools > button"
DELETE = "#past .past-list [data-icon=delete]"
LISTEN = """() => {
  window.messages = [];
  const channel = new BroadcastChannel("lanscribe.transcripts");
  channel.onmessage = ({ data }) => window.messages.push(data);
}"""
ROUNDS = "() => new Promise((resolve) => setTimeout(() => resolve(window.messages.length), 4500))"
"""How many messages other tabs have had when the page has had the time to save twice."""


@pytest.fixture
def live(tab: ChromiumPage, shared_box: PageBox) -> LivePage:
    prepare(tab)
    tab.open(shared_box.url())
    return LivePage(tab)


def test_a_paused_transcript_is_written_no_more_and_stays_deleted(
    tab: ChromiumPage, live: LivePage
) -> None:
    live.start()
    live.wait_words(2)
    live.pause()
    wait(lambda: [one for one in live.kept() if not one["isOpen"]], "it is not kept")
    tab.run(LISTEN)
    assert tab.run(ROUNDS) == 0
    tab.run("() => { location.hash = 'past' }")
    tab.do(tab.tab.click(DELETE))
    wait(lambda: not live.kept(), "it is not deleted")
    tab.run(ROUNDS)
    assert live.kept() == []
    tab.run("() => { location.hash = 'live' }")
    tab.do(tab.tab.locator("#live .hint").wait_for())
    assert live.words() == []


def test_a_new_transcript_lets_the_one_before_be_finished(
    tab: ChromiumPage, live: LivePage, shared_box: PageBox
) -> None:
    """Nothing is asked and nothing is lost, though the box is away when it begins."""
    live.start()
    live.wait_words(2)
    shared_box.wire.silence()
    live.wait_recorded(live.recorded_s() + 4)
    before = live.count()
    tab.do(tab.tab.click(BUTTON))
    tab.do(tab.tab.click(NEW))
    assert not tab.do(tab.tab.locator("dialog").count())
    assert live.words() == []
    tab.do(tab.tab.click(BUTTON))
    shared_box.wire.pass_on()
    live.wait_words(2)
    live.pause()
    new, old = wait(lambda: finished(live), "they are not finished")
    assert len(old["words"]) > before + 2
    assert new["words"]


def finished(live: LivePage) -> list[dict[str, Any]]:
    """Both transcripts, the newest first, as soon as both are whole."""
    kept = live.kept()
    return kept if len(kept) == 2 and not any(one["isOpen"] for one in kept) else []
