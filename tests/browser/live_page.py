"""The view "live" as a person uses it, and what it shows and keeps, in whatever browser."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lanscribe.speech.audio import Samples
from tests.browser.chromium import ChromiumPage
from tests.browser.kept import KEPT
from tests.browser.plain_tab import PlainTab
from tests.support import words

PATIENCE_S = 300.0
"""How long something is waited for that comes within seconds on a quiet machine."""
BUTTON = "#live button.record"

COUNT = """() => {
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const ask = devices.getUserMedia.bind(devices);
  window.recordedS = 0;
  devices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    const track = stream.getAudioTracks()[0].clone();
    count(track, new MediaStreamTrackProcessor({ track }).readable.getReader());
    return stream;
  };
  async function count(track, reader) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      window.recordedS += value.numberOfFrames / value.sampleRate;
      value.close();
    }
  }
}"""
"""Before the page: counts the seconds that the microphone of Chromium gave (window.recordedS)."""

WATCH = """() => {
  const live = document.getElementById("live");
  const textOf = (kind) =>
    [...live.querySelectorAll(`.transcript .${kind}`)].map((one) => one.textContent).join(" ");
  window.looks = [];
  window.announced = [];
  const look = () => {
    const now = {
      at_ms: performance.timeOrigin + performance.now(),
      settled: textOf("settled"),
      tentative: textOf("tentative"),
      is_hidden: document.hidden,
    };
    const last = window.looks.at(-1);
    const isSame = last?.settled === now.settled && last.tentative === now.tentative;
    if (!isSame) window.looks.push(now);
  };
  const everything = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(live, everything);
  look();
  const hear = (changes) => {
    for (const { target, addedNodes } of changes) {
      const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
      if (!element?.closest("[aria-live]")) continue;
      window.announced.push([...addedNodes].map((one) => one.textContent).join(""));
    }
  };
  new MutationObserver(hear).observe(document.body, everything);
}"""
"""Notes from now on each change of the words (window.looks), and what screen readers are told."""

RECORD = """() => {
  const blocks = [];
  window.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...all) {
      super(...all);
      this.port.addEventListener("message", ({ data }) => blocks.push(data.slice()));
    }
  };
  window.recorded = () => new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.readAsDataURL(new Blob(blocks));
  });
}"""
"""Keeps the sound that the page records (window.recorded), from its next start on."""


class Runs(Protocol):
    """A tab of whatever browser."""

    def run(self, function: str, *arguments: Any) -> Any:
        """What a function of JavaScript, which may be async, returns: as JSON carries it."""


@dataclass(frozen=True)
class Look:
    """What was shown at a moment. at_ms: of the browser's wall clock."""

    at_ms: float
    settled: str
    tentative: str
    is_hidden: bool
    """Whether the tab was in the background."""


def wait(is_so: Callable[[], Any], what: str, *, look_every_s: float = 0.05) -> Any:
    """Look until it is so; what was found then."""
    ends_s = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < ends_s, what
        time.sleep(look_every_s)
    return found


def prepare(tab: ChromiumPage | PlainTab) -> None:
    """Let it count what its microphone gives, from the next page on."""
    script = f"({COUNT})()"
    if isinstance(tab, PlainTab):
        tab.send("Page.enable")
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=script)
    else:
        tab.do(tab.tab.add_init_script(script))


class LivePage:
    """The view of an open page."""

    def __init__(self, tab: Runs, *, is_watched: bool = True) -> None:
        """is_watched: keep every text that is shown, so that `looks` and the like can tell it."""
        self._tab = tab
        if is_watched:
            tab.run(WATCH)
            tab.run(RECORD)

    def start(self) -> None:
        """Begin to listen, or go on."""
        self._click(BUTTON)
        wait(lambda: self.state() == "listening", "it does not listen")

    def pause(self) -> None:
        """End listening; wait until every word is settled."""
        self._click(BUTTON)
        wait(lambda: self.state() == "paused", "it does not pause")

    def _click(self, selector: str) -> None:
        self._tab.run("(selector) => document.querySelector(selector).click()", selector)

    def state(self) -> str:
        """What the state line says of the talk, as the page calls it."""
        return str(self._tab.run("() => document.querySelector('#live .live-state').dataset.state"))

    def looks(self) -> list[Look]:
        """Everything that was shown, change by change."""
        return [Look(**one) for one in self._tab.run("() => window.looks")]

    def look(self) -> Look:
        """What is shown now."""
        return Look(**self._tab.run("() => window.looks.at(-1)"))

    def words(self) -> list[str]:
        """The settled words."""
        return words(self.look().settled)

    def count(self) -> int:
        """How many words are settled."""
        return len(self.words())

    def announced(self) -> list[str]:
        """What screen readers were told."""
        return list(self._tab.run("() => window.announced"))

    def kept(self) -> list[dict[str, Any]]:
        """The transcripts that the browser keeps."""
        return list(self._tab.run(KEPT))

    def sound(self) -> Samples:
        """What the page recorded, each sample of it; only if it is watched."""
        pcm = base64.b64decode(self._tab.run("() => window.recorded()"))
        samples: Samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32_768)
        return samples

    def recorded_s(self) -> float:
        """How many seconds of sound the microphone has given; only of Chromium, if prepared."""
        return float(self._tab.run("() => window.recordedS"))

    def wait_words(self, count: int) -> None:
        """Until so many words are settled."""
        wait(lambda: self.count() >= count, f"no {count} words")

    def wait_state(self, state: str) -> None:
        """Until the page says so of the talk."""
        wait(lambda: self.state() == state, f"it is never {state}")

    def wait_recorded(self, seconds: float, *, look_every_s: float = 0.05) -> None:
        """Until the microphone has given so much."""
        ends_s = time.monotonic() + 10 * seconds + PATIENCE_S
        while self.recorded_s() < seconds:
            assert time.monotonic() < ends_s, f"no {seconds} s of sound"
            time.sleep(look_every_s)
