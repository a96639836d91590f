"""A microphone that speaks, a network that is lost, and a box that restarts: they are real."""

from tests.browser.chromium import Chromium, ChromiumPage
from tests.browser.conftest import Running
from tests.browser.page_box import PageBox
from tests.browser.plain_tab import window
from tests.browser.scripts import LISTEN

ASK = """() => {
  window.answer = fetch("/health").then((answer) => answer.status, () => "refused");
}"""


def test_the_page_is_trusted_and_hears_the_recording(
    tab: ChromiumPage, shared_box: PageBox
) -> None:
    tab.open(shared_box.url())
    assert tab.run("() => [document.title.includes('lanscribe'), isSecureContext]") == [True, True]
    assert tab.run(LISTEN) > 0.01


def test_a_silent_network_keeps_what_it_is_given(tab: ChromiumPage, shared_box: PageBox) -> None:
    tab.open(shared_box.url())
    shared_box.wire.silence()
    tab.run(ASK)
    first = "async () => Promise.race([window.answer, new Promise((r) => setTimeout(r, 200, 0))])"
    assert tab.run(first) == 0
    shared_box.wire.pass_on()
    assert tab.run("() => window.answer") == 200


def test_a_box_comes_back_where_it_was(tab: ChromiumPage, shared_box: PageBox) -> None:
    tab.open(shared_box.url())
    shared_box.stop()
    tab.run(ASK)
    assert tab.run("() => window.answer") == "refused"
    shared_box.start()
    tab.run(ASK)
    assert tab.run("() => window.answer") == 200


def test_a_tab_is_in_the_background(running: Running) -> None:
    chromium = running.browser("chromium")
    assert isinstance(chromium, Chromium)
    with window(chromium) as one:
        first = one.tab()
        assert first.run("() => document.visibilityState") == "visible"
        one.tab()
        assert first.run("() => document.visibilityState") == "hidden"
        first.bring_to_front()
        assert first.run("() => document.visibilityState") == "visible"
