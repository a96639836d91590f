"""Does the server emit all words that its engine hears, if a room is not quiet?

    python -m bench.faithful [--audio FOLDER] [--minutes 60] [--live-minutes 15] [--streams 4]
                             [--busy] [--seed 1]

Sends sentences with 0.05 to 6 s of room noise of any level between them, as one utterance over a
WebSocket: one file at full speed, then live streams at the speed of speech. Each runs with default
engine sessions and with a new one every 20 s. The peer is the same engine, fed sentence by sentence
without noise or server. Counts missing runs of four or more of the peer's words, and doubled
words; shows the seconds that the server reported as lost. --busy adds two processes that never
rest. Exits with 1 if a run is missing or a word doubled.
"""

import argparse
import asyncio
import csv
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from bench.talk import PROTOCOLS, Target, transcribe
from bench.words import plain_words
from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine
from lanscribe.engines.embedded.engine import EmbeddedEngine, read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import Samples, duration_s, sample_count
from tests.engines.driving import listen, text_of

GROUPS = {"libri"}
"""Whole sentences, in the manifest."""
PHRASES_S = ((0.2, 3.2), (3.5, 4.5), (4.7, 6.1), (6.4, 8.1), (8.1, 9.9))
"""Phrases of the model's own recording, cut in its pauses."""
SHORTEST_RUN = 4
OFTEN = {"LANSCRIBE_ROLLOVER_TARGET_S": "20", "LANSCRIBE_ROLLOVER_LIMIT_S": "25"}
BUSY_PROCESSES = 2
Words = list[str]


@dataclass(frozen=True, slots=True)
class Sentence:
    """Speech, shape (n,), and the words that the engine alone hears in it."""

    samples: Samples
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Talk:
    """Sentences with noise between them, shape (n,), and all their words."""

    samples: Samples
    words: Words


@dataclass(frozen=True, slots=True)
class Faults:
    """The missing and extra words of a transcript."""

    missing: tuple[str, ...]
    """Runs of SHORTEST_RUN or more words that only the peer has."""
    doubled: tuple[str, ...]
    """Words that only the transcript has and that equal the words beside them."""
    deleted: int
    """All missing words, single ones too."""

    @property
    def are_none(self) -> bool:
        """Whether no run is missing and no word doubled."""
        return not self.missing and not self.doubled


def faults(expected: Sequence[str], heard: Sequence[str]) -> Faults:
    """Compare the transcript with the peer's words."""
    aligned = jiwer.process_words([" ".join(expected) or "-"], [" ".join(heard) or "-"])
    missing, doubled, deleted = [], [], 0
    for part in aligned.alignments[0]:
        gone = expected[part.ref_start_idx : part.ref_end_idx]
        if part.type == "delete":
            deleted += len(gone)
            if len(gone) >= SHORTEST_RUN:
                missing.append(" ".join(gone))
        elif part.type == "insert" and _is_doubled(heard, part.hyp_start_idx, part.hyp_end_idx):
            doubled.append(" ".join(heard[part.hyp_start_idx : part.hyp_end_idx]))
    return Faults(tuple(missing), tuple(doubled), deleted)


def _is_doubled(heard: Sequence[str], start: int, stop: int) -> bool:
    """Whether words equal those just before or after them."""
    added = heard[start:stop]
    return added in (heard[start - len(added) : start], heard[stop : stop + len(added)])


def room_noise(random: np.random.Generator, count: int) -> Samples:
    """Noise of one of several kinds, shape (count,), RMS 1: hiss, rumble, a fan, typing, gusts."""
    white = random.standard_normal(count)
    match random.integers(5):
        case 0:
            noise = white
        case 1:
            spectrum = np.fft.rfft(white)
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), count)
        case 2:
            hum = np.sin(2 * np.pi * random.uniform(45, 130) * np.arange(count) / 16_000)
            noise = hum + 0.3 * white
        case 3:
            keys = np.zeros(count)
            keys[random.integers(0, count, max(1, count // 2500))] = 30
            noise = np.convolve(keys, np.exp(-np.arange(80) / 15), "same") * white + 0.05 * white
        case _:
            noise = white * np.repeat(random.uniform(0.05, 1, count // 3000 + 1), 3000)[:count]
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-9), dtype=np.float32)


def talk(sentences: Sequence[Sentence], seconds: float, seed: int) -> Talk:
    """Sentences for a number of seconds, with room noise of any level before and during each."""
    random = np.random.default_rng(seed)
    parts: list[Samples] = []
    words: Words = []
    length = 0
    while length < seconds * 16_000:
        sentence = sentences[int(random.integers(len(sentences)))]
        gap = sample_count(random.uniform(0.05, 6.0))
        noise = room_noise(random, gap) * np.float32(10 ** (random.uniform(-72, -30) / 20))
        parts += [np.clip(noise, -1, 1).astype(np.float32), sentence.samples]
        words += sentence.words
        length += gap + len(sentence.samples)
    return Talk(np.concatenate(parts), words)


def read_sentences(folder: Path | None) -> list[Samples]:
    """The sentences of a folder with a manifest.tsv, or phrases of the model's own recording."""
    if folder is None:
        samples = read_wave(sample_path())
        return [samples[sample_count(one) : sample_count(two)] for one, two in PHRASES_S]
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [row["file"] for row in rows if row["group"] in GROUPS]
    return [soundfile.read(folder / name, dtype="float32")[0] for name in names]


async def heard_alone(engine: Engine, clips: Sequence[Samples]) -> list[Sentence]:
    """Hear each clip in its own engine session."""
    silence = np.zeros(sample_count(0.5), dtype=np.float32)
    found = []
    for clip in clips:
        tokens = await listen(engine, np.concatenate([silence, clip, silence]), sample_count(0.1))
        found.append(Sentence(clip, tuple(plain_words(text_of(tokens)))))
    return found


@contextmanager
def server(environment: dict[str, str]) -> Iterator[str]:
    """Run a server with the embedded engine; yield its URL."""
    command = [sys.executable, "-m", "lanscribe", "serve", "--host", "127.0.0.1", "--port", "0"]
    quiet = {"LANSCRIBE_WYOMING_ENABLED": "false", "LANSCRIBE_DISCOVERY_ENABLED": "false"}
    process = subprocess.Popen(
        [*command, "--engine", "embedded", "--log-file", "", "--log-level", "error"],
        env={**os.environ, **quiet, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = (re.search(r"ws://\S+:\d+", line) for line in process.stdout)
        yield next(match[0] for match in found if match)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run `count` processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def say(url: str, one: Talk, *, is_live: bool) -> Faults:
    """Send it to a server, and compare."""
    to = Target(f"{url}/v1/realtime", PROTOCOLS["vllm"], "moonshine-base-en", "", is_live)
    outcome = await transcribe(to, one.samples)
    return faults(one.words, plain_words(outcome.text))


async def measure(options: argparse.Namespace) -> bool:
    """Print all rows of the table; whether none has a fault."""
    engine = EmbeddedEngine.load(EngineSettings(name="embedded"))
    sentences = await heard_alone(engine, read_sentences(options.audio))
    await engine.close()
    print("| | audio | words | runs missing | words missing, single ones too | doubled |")
    print("| --- | --- | --- | --- | --- | --- |")
    seeds = itertools.count(options.seed)
    is_right = True
    ways = [("default", {}), ("every 20 s", OFTEN)]
    with ExitStack() as servers:
        urls = [(name, servers.enter_context(server(settings))) for name, settings in ways]
        if options.busy:
            servers.enter_context(busy(BUSY_PROCESSES))
        for name, url in urls if options.minutes else []:
            one = talk(sentences, 60 * options.minutes, next(seeds))
            found = [await say(url, one, is_live=False)]
            is_right &= report(f"full speed, sessions {name}", [one], found)
        live = [
            (
                name,
                url,
                [
                    talk(sentences, 60 * options.live_minutes, next(seeds))
                    for _ in range(options.streams)
                ],
            )
            for name, url in urls
            if options.live_minutes
        ]
        said = [
            asyncio.gather(*(say(url, one, is_live=True) for one in talks))
            for _, url, talks in live
        ]
        for (name, _, talks), found_all in zip(live, await asyncio.gather(*said), strict=True):
            title = f"live, {options.streams} streams, sessions {name}"
            is_right &= report(title, talks, found_all)
    return is_right


def report(name: str, talks: Sequence[Talk], found: Sequence[Faults]) -> bool:
    """Print a row; whether it has no fault."""
    minutes = sum(duration_s(len(one.samples)) for one in talks) / 60
    missing = [run for one in found for run in one.missing]
    doubled = [words for one in found for words in one.doubled]
    words, deleted = sum(len(one.words) for one in talks), sum(one.deleted for one in found)
    print(f"| {name} | {minutes:.0f} min | {words} | {len(missing)} | {deleted} | {len(doubled)} |")
    for run in missing:
        print(f"  missing: {run}")
    for run in doubled:
        print(f"  doubled: {run}")
    sys.stdout.flush()
    return not missing and not doubled


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.faithful")
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0, help="at full speed; 0 for none")
    parser.add_argument("--live-minutes", type=float, default=15.0, help="of each stream")
    parser.add_argument("--streams", type=int, default=4, help="live streams per mode")
    parser.add_argument("--busy", action="store_true", help="beside two busy processes")
    parser.add_argument("--seed", type=int, default=1)
    return 0 if asyncio.run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
