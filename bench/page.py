"""The page: from the microphone to the eye, and what its tab costs.

    python -m bench.page [--audio FOLDER] [--quick] [--minutes N]

The microphone of a real Chromium plays the clips of FOLDER (WAV files and a manifest.tsv; default:
the model's own sample); a server with the embedded engine transcribes them, over https. A tone
before the speech says when the sound reached the browser, whatever the page thinks. Beside it: the
same sound, sent by a program over a plain WebSocket, and a tab that only opens the microphone. With
--minutes the page then listens for so long, and its memory is measured. Needs
requirements/bench.in.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from cryptography.hazmat.primitives.serialization import Encoding
from websockets.asyncio.client import connect

from bench.speech import Clip, matches, read_clips
from bench.words import plain_words
from lanscribe.identity.authority import make, save
from lanscribe.identity.names import own_names
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, duration_s, samples_to_pcm16
from tests.browser import chromium
from tests.browser.chromium import Chromium, ChromiumPage
from tests.browser.live_page import LivePage, prepare
from tests.servers import ServerProcess, start_process

_QUICK = slice(None, None, 3)
_CHUNK_S = 0.1
_TONE_S = 0.01
_TONE_HZ = 2_000
_BEFORE_S = 2.0
"""From the start of the tone to the start of the speech."""
_AFTER_S = 3.0
_BASELINE_S = 20.0

MARK = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    watch(stream.getAudioTracks()[0].clone());
    return stream;
  };
  async function watch(track) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    while (window.toneMs === undefined) {
      const { value } = await reader.read();
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const at = samples.findIndex((sample) => Math.abs(sample) > 0.05);
      const lengthMs = (1000 * samples.length) / value.sampleRate;
      if (at >= 0) window.toneMs = Date.now() - lengthMs + (1000 * at) / value.sampleRate;
      value.close();
    }
    track.stop();
  }
}"""
"""Notes when the tone reaches the page (window.toneMs), beside what the page itself hears."""

LETTERS = "() => document.querySelector('#live .transcript').textContent.length"

ONLY_LISTEN = """async () => {
  const audio = { echoCancellation: false, noiseSuppression: false };
  const context = new AudioContext();
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  context.createMediaStreamSource(stream).connect(context.createAnalyser());
}"""


@dataclass(frozen=True)
class Seen:
    """Delays after the ends of the words, in seconds."""

    first: list[float]
    settled: list[float]
    words: int

    def line(self, name: str) -> str:
        """The row of the table."""
        both = (self.first, self.settled)
        marks = [f"{_mark(some, part):5.2f}" for some in both for part in (50, 90)]
        return f"{name:34} {'  '.join(marks)}   {len(self.settled)} of {self.words} words"


@dataclass(frozen=True)
class Look:
    """What was shown at a moment. at_s: from the start of the speech."""

    at_s: float
    settled: str
    tentative: str


def _mark(some: list[float], part: int) -> float:
    return float(np.percentile(some, part)) if some else float("nan")


def joined(clips: list[Clip]) -> Clip:
    """One after the other, as one clip; each ends with a second of silence."""
    starts = np.cumsum([0, *(len(clip.samples) for clip in clips)])
    spans = [
        (start_s + duration_s(int(start)), end_s + duration_s(int(start)))
        for clip, start in zip(clips, starts, strict=False)
        for start_s, end_s in clip.word_spans_s
    ]
    text = " ".join(clip.text for clip in clips)
    return replace(
        clips[0],
        samples=np.concatenate([clip.samples for clip in clips]),
        text=text,
        word_spans_s=tuple(spans),
    )


def write_microphone(path: Path, clip: Clip) -> None:
    """The tone, the clip, and silence."""
    times = np.arange(round(_TONE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = 0.5 * np.sin(2 * np.pi * _TONE_HZ * times)
    before = np.zeros(round(_BEFORE_S * SAMPLE_RATE_HZ) - len(tone))
    after = np.zeros(round(_AFTER_S * SAMPLE_RATE_HZ))
    sound = np.concatenate([tone, before, clip.samples, after])
    soundfile.write(path, sound, SAMPLE_RATE_HZ, subtype="PCM_16")


def seen(clip: Clip, looks: list[Look]) -> Seen:
    """When each word that was heard right was there."""
    words = plain_words(looks[-1].settled)
    pairs = matches(clip, words)
    first, settled = (
        [
            _shown_s(looks, at, words[at], with_tentative=is_first) - clip.word_ends_s[other]
            for at, other in pairs
        ]
        for is_first in (True, False)
    )
    return Seen(first, settled, len(clip.word_spans_s))


def _shown_s(looks: list[Look], at: int, word: str, *, with_tentative: bool) -> float:
    """When a word was first shown at its place."""
    for look in looks:
        shown = plain_words(look.settled + (look.tentative if with_tentative else ""))
        if shown[at : at + 1] == [word]:
            return look.at_s
    raise AssertionError(f"{word} was never shown")


async def by_program(url: str, samples: Samples) -> list[Look]:
    """The same sound in real time over a WebSocket, by a program that asks for tentative words."""
    looks: list[Look] = []
    async with connect(url, max_size=None, ping_timeout=None) as socket:
        await socket.recv()
        update = {"type": "session.update", "model": "", "resume": True, "tentative": True}
        await socket.send(json.dumps(update))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": False}))
        began_s = time.monotonic()
        sending = asyncio.create_task(_send(socket, samples, began_s))
        settled = ""
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "transcription.done":
                break
            if event["type"] == "transcription.delta":
                settled += event["delta"]
                now_s = time.monotonic() - began_s
                looks.append(Look(now_s, settled, event.get("tentative", "")))
        await sending
    return looks


async def _send(socket: Any, samples: Samples, began_s: float) -> None:
    size = round(_CHUNK_S * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), size):
        chunk = samples[start : start + size]
        await asyncio.sleep(began_s + duration_s(start + len(chunk)) - time.monotonic())
        await socket.send(samples_to_pcm16(chunk))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))


@dataclass(frozen=True)
class Cost:
    """Processor seconds of the browser so far, and when it was asked. tab: of renderers alone."""

    tab_s: float
    all_s: float
    at_s: float

    def since(self, before: "Cost") -> str:
        """The shares of one core since then."""
        took_s = self.at_s - before.at_s
        tab, whole = (
            100 * (now - then) / took_s
            for now, then in ((self.tab_s, before.tab_s), (self.all_s, before.all_s))
        )
        return f"tab {tab:4.1f} %, whole browser {whole:4.1f} % of a core, for {took_s:.0f} s"


class Meter:
    """Asks a browser what it costs."""

    def __init__(self, browser: Chromium) -> None:
        self._run = browser.loop.run
        self._devtools = self._run(browser.browser.new_browser_cdp_session())

    def processes(self) -> list[dict[str, Any]]:
        """Its processes: id, type and cpuTime."""
        found = self._run(self._devtools.send("SystemInfo.getProcessInfo"))
        return list(found["processInfo"])

    def cost(self) -> Cost:
        """What it has cost so far."""
        all_of_them = self.processes()
        renderers = sum(one["cpuTime"] for one in all_of_them if one["type"] == "renderer")
        whole = sum(one["cpuTime"] for one in all_of_them)
        return Cost(renderers, whole, time.monotonic())


class Memory:
    """Asks a tab what it keeps."""

    def __init__(self, page: ChromiumPage) -> None:
        self._page = page
        self._devtools = page.do(page.tab.context.new_cdp_session(page.tab))
        page.do(self._devtools.send("Performance.enable"))

    def line(self) -> str:
        """The script's heap after its garbage is collected, and the nodes of the document."""
        self._page.do(self._devtools.send("HeapProfiler.collectGarbage"))
        found = self._page.do(self._devtools.send("Performance.getMetrics"))["metrics"]
        metrics = {one["name"]: one["value"] for one in found}
        heap_mb = metrics["JSHeapUsedSize"] / 2**20
        return f"heap {heap_mb:5.1f} MB, {metrics['Nodes']:.0f} nodes"


@dataclass
class Bench:
    """A browser that trusts the server."""

    server: ServerProcess
    browser: Chromium
    clip: Clip

    @contextmanager
    def tab(self, script: str = "() => {}") -> Iterator[ChromiumPage]:
        """A tab of the page, in which a function is run before everything else."""
        with self.browser.page() as page:
            assert isinstance(page, ChromiumPage)
            prepare(page)
            page.do(page.tab.add_init_script(f"({script})()"))
            page.open(f"https://lanscribe.local:{self.server.secure_port}/")
            yield page

    def delays(self) -> Seen:
        """Of the page."""
        whole_s = _BEFORE_S + self.clip.length_s + _AFTER_S
        with self.tab(MARK) as page:
            live = LivePage(page)
            live.start()
            live.wait_recorded(whole_s)
            live.pause()
            began_ms = page.run("() => window.toneMs") + 1000 * _BEFORE_S
            return seen(
                self.clip,
                [
                    Look((look.at_ms - began_ms) / 1000, look.settled, look.tentative)
                    for look in live.looks()
                ],
            )

    def costs(self) -> Iterator[str]:
        """Of the microphone alone, and of the page."""
        meter = Meter(self.browser)
        with self.tab() as page:
            page.run(ONLY_LISTEN)
            before = meter.cost()
            time.sleep(_BASELINE_S)
            yield f"{'only the microphone':34} {meter.cost().since(before)}"
        with self.tab() as page:
            live = LivePage(page, is_watched=False)
            live.start()
            live.wait_recorded(1)
            before = meter.cost()
            live.wait_recorded(1 + self.clip.length_s, look_every_s=1.0)
            yield f"{'the page, listening':34} {meter.cost().since(before)}"

    def memory(self, minutes: float) -> Iterator[str]:
        """While it listens; a line now, then six, and one at the end."""
        with self.tab() as page:
            live, memory = LivePage(page, is_watched=False), Memory(page)
            meter = Meter(self.browser)
            live.start()
            live.wait_recorded(5)
            before = meter.cost()
            for part in range(7):
                live.wait_recorded(5 + part * minutes * 10, look_every_s=1.0)
                yield f"{part * minutes / 6:5.1f} min: {memory.line()}, {page.run(LETTERS)} letters"
            yield f"meanwhile: {meter.cost().since(before)}"


@contextmanager
def bench(folder: Path, clip: Clip) -> Iterator[Bench]:
    """A server in a process of its own, and a browser whose microphone hears the clip."""
    authority = make(own_names("box", []), datetime.now(UTC))
    (folder / "state/tls").mkdir(parents=True)
    save(folder / "state/tls", authority)
    (folder / "authority.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    write_microphone(folder / "microphone.wav", clip)
    variables = {
        "LANSCRIBE_SERVER_STATE_DIR": f"{folder}/state",
        "LANSCRIBE_TLS_MODE": "auto",
        "LANSCRIBE_TLS_PORT": "0",
        "LANSCRIBE_WYOMING_PORT": "0",
        "LANSCRIBE_DISCOVERY_ENABLED": "false",
    }
    server = start_process(folder, "embedded", [], variables)
    try:
        with chromium.running([folder / "authority.pem"], folder / "microphone.wav") as browser:
            yield Bench(server, browser, clip)
    finally:
        server.end()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m bench.page")
    parser.add_argument("--audio", type=Path, help="a folder with a manifest.tsv")
    parser.add_argument("--quick", action="store_true", help="every third clip")
    parser.add_argument("--minutes", type=float, default=0, help="of listening, for the memory")
    options = parser.parse_args()
    clips = read_clips(options.audio)[_QUICK if options.quick else slice(None)]
    clip = joined([one for one in clips if one.word_spans_s])
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder), clip) as one:
        print(f"{'':34} first sight   settled (median, 90 % within)")
        samples = np.concatenate([clip.samples, np.zeros(round(_AFTER_S * SAMPLE_RATE_HZ))])
        looks = asyncio.run(by_program(one.server.url, samples.astype(np.float32)))
        print(seen(clip, looks).line("a program, over a WebSocket"), flush=True)
        print(one.delays().line("the page, on the screen"), flush=True)
        for line in one.costs():
            print(line, flush=True)
        for line in one.memory(options.minutes) if options.minutes else ():
            print(line, flush=True)


if __name__ == "__main__":
    main()
