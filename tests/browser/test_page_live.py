"""Live captions in a real browser: one talk through a bad network, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.browser.chromium import Chromium
from tests.browser.conftest import Running
from tests.browser.hearing import (
    Word,
    against_the_recording,
    differences,
    heard_by_a_program,
    lost_or_doubled,
    shown_by_a_page,
)
from tests.browser.judging import violations
from tests.browser.live_page import LivePage, Look, prepare
from tests.browser.page_box import PageBox
from tests.browser.plain_tab import PlainTab, Window, window
from tests.support import words

SENTENCES = 6
"""So many words are waited for before the next thing happens."""
MOST_MISHEARD = 2


@dataclass(frozen=True)
class Talk:
    """What a page showed of a talk, and what it kept."""

    looks: list[Look]
    announced: list[str]
    kept: list[dict[str, Any]]
    counts: dict[str, int]
    """How many words were settled when something began."""
    faults: dict[str, list[Any]]
    """What a judge of accessibility has against it: by the state and the colours."""
    heard: list[Word]
    """What a program hears in the sound that the page recorded."""

    @property
    def words(self) -> list[str]:
        return words(self.looks[-1].settled)


class Story:
    """A talk through everything that may happen to a phone."""

    def __init__(self, browser_window: Window, box: PageBox) -> None:
        self._window, self._box = browser_window, box
        self._counts: dict[str, int] = {}
        self._faults: dict[str, list[Any]] = {}
        self._tab = browser_window.tab()
        prepare(self._tab)
        self._tab.open(box.url())
        self._live = LivePage(self._tab)

    def told(self) -> Talk:
        live = self._live
        live.start()
        live.wait_words(SENTENCES)
        self._judge("listening")
        self._without_network()
        self._in_the_background()
        self._cut()
        self._without_box()
        live.pause()
        heard = heard_by_a_program(self._box.server.url, live.sound())
        shown = live.looks(), live.announced(), live.kept()
        return Talk(*shown, self._counts, self._faults, heard)

    def _without_network(self) -> None:
        self._begin("silent")
        self._box.wire.silence()
        self._live.wait_state("away")
        self._judge("away")
        self._live.wait_recorded(self._live.recorded_s() + 3)
        self._box.wire.pass_on()
        self._live.wait_words(self._counts["silent"] + SENTENCES)

    def _in_the_background(self) -> None:
        self._begin("hidden")
        self._window.tab()
        self._live.wait_words(self._counts["hidden"] + SENTENCES)

    def _cut(self) -> None:
        self._begin("cut")
        self._box.wire.cut()
        self._live.wait_words(self._counts["cut"] + 2)
        self._tab.bring_to_front()

    def _without_box(self) -> None:
        self._begin("stopped")
        self._box.stop()
        self._live.wait_state("away")
        self._box.start()
        self._live.wait_words(self._counts["stopped"] + SENTENCES)

    def _judge(self, state: str) -> None:
        for scheme in ("light", "dark"):
            self._tab.prefer(scheme)
            self._faults[f"{state}, {scheme}"] = violations(self._tab)

    def _begin(self, what: str) -> None:
        self._counts[what] = self._live.count()


@pytest.fixture(scope="module")
def speaker(running: Running) -> Chromium:
    """Chromium, whose microphone hears the recording."""
    chromium = running.browser("chromium")
    assert isinstance(chromium, Chromium)
    return chromium


@pytest.fixture(scope="module")
def talk(speaker: Chromium, shared_box: PageBox) -> Iterator[Talk]:
    with window(speaker) as browser_window:
        yield Story(browser_window, shared_box).told()


def test_every_word_is_there_once(talk: Talk) -> None:
    """Without network, in the background, cut, and with a box that was away.

    The box that came back hears its first words without those before them, and may mishear them.
    """
    (kept,) = talk.kept
    found = differences(shown_by_a_page(kept), talk.heard)
    assert lost_or_doubled(found) == []
    assert len(found) <= MOST_MISHEARD
    assert len(talk.words) >= talk.counts["stopped"] + SENTENCES


def test_its_sound_is_what_was_said(talk: Talk) -> None:
    assert lost_or_doubled(against_the_recording(talk.heard)) == []


def test_accessible_while_it_listens_and_while_the_box_is_away(talk: Talk) -> None:
    assert len(talk.faults) == 4
    assert [what for what, faults in talk.faults.items() if faults] == [], talk.faults


def test_settled_text_is_never_taken_back(talk: Talk) -> None:
    texts = [words(look.settled) for look in talk.looks]
    for before, after in pairwise(texts):
        assert "".join(after).startswith("".join(before))


def test_words_are_seen_before_they_are_settled(talk: Talk) -> None:
    tentative = [look for look in talk.looks if look.tentative]
    assert len(tentative) > 5
    assert talk.looks[-1].tentative == ""


def test_words_came_in_the_background(talk: Talk) -> None:
    hidden = [len(words(look.settled)) for look in talk.looks if look.is_hidden]
    assert hidden[-1] - hidden[0] >= SENTENCES - 1


def test_a_screen_reader_hears_every_word_once(talk: Talk) -> None:
    """As whole sentences: fewer pieces than words."""
    pieces = [piece for piece in talk.announced if piece]
    assert words(" ".join(pieces)) == talk.words
    assert len(pieces) < len(talk.words)


def test_what_is_kept_is_what_was_shown(talk: Talk) -> None:
    (kept,) = talk.kept
    assert text_of(kept) == talk.words
    starts = [word["startS"] for word in kept["words"]]
    assert starts == sorted(starts)
    assert kept["kind"] == "live"


def test_no_sound_of_the_device_was_lost(talk: Talk) -> None:
    """It heard all the time; the person has paused at the end."""
    (kept,) = talk.kept
    assert [gap["code"] for gap in kept["gaps"]] in ([], ["paused"])


def test_two_tabs_are_two_talks(speaker: Chromium, shared_box: PageBox) -> None:
    with window(speaker) as browser_window:
        lives = [opened(browser_window.tab(), shared_box) for _ in range(2)]
        for live in lives:
            live.start()
        for live in lives:
            live.wait_words(4)
        for live in lives:
            live.pause()
        kept = lives[0].kept()
        assert len({one["id"] for one in kept}) == 2
        assert sorted(text_of(one) for one in kept) == sorted(live.words() for live in lives)
        for one in kept:
            assert lost_or_doubled(against_the_recording(shown_by_a_page(one))) == []


def text_of(kept: dict[str, Any]) -> list[str]:
    return words("".join(word["text"] for word in kept["words"]))


def opened(tab: PlainTab, box: PageBox) -> LivePage:
    prepare(tab)
    tab.open(box.url())
    return LivePage(tab)
