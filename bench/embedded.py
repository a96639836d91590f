"""Accuracy and speed of the embedded engine, beside the same model offline and a peer.

    python -m bench.embedded [--audio FOLDER] [--quick] [--streams 1,2,4,8,12] [--only ENGINE]

FOLDER holds WAV files and a manifest.tsv (columns file, group, reference); without it,
the model's own sample is used. Needs requirements/bench.in. Streams are fed in real
time through the engine session API. Each row is measured in its own process.
"""

import argparse
import asyncio
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from bench.seen import seen_s, shown, text_of
from bench.speech import Clip, ErrorCount, delays_s, read_clips
from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine
from lanscribe.engines.embedded.engine import EmbeddedEngine, usable_cores
from lanscribe.speech.audio import sample_count
from lanscribe.speech.transcript import Token

_BLOCK_S = 0.08
_QUICK = slice(None, None, 3)
_TOO_LATE_S = 1.5
"""Streams are added until half of the words arrive later than this."""


@dataclass
class Row:
    """The measurements of one engine in one mode."""

    name: str
    errors: ErrorCount = field(default_factory=ErrorCount)
    seen_s: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    words: int = 0
    audio_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0

    def add(self, clip: Clip, heard: list[tuple[float, Token]]) -> None:
        """Count one clip, of which each token has its time of arrival."""
        self.errors.add(clip.text, text_of(heard))
        self.words += len(clip.word_ends_s)
        self.audio_s += clip.length_s
        first, _ = seen_s(clip, shown(heard))
        self.seen_s += [at_s - clip.word_ends_s[index] for index, at_s in first.items()]
        delays = delays_s(clip, [(token.text, at_s) for at_s, token in heard if token.text])
        self.delays_s += delays
        self.first_s += delays[:1]

    def line(self) -> str:
        """The row of the table."""
        parts = [f"{self.name:34}", f"{self.errors.percent:5.1f} %"]
        parts.append(f"{self.cpu_s / self.audio_s:6.3f}")
        if self.delays_s:
            marks = [float(np.percentile(self.seen_s, part)) for part in (50, 90)]
            marks += [float(np.percentile(self.delays_s, part)) for part in (50, 90, 95)]
            parts += [f"{mark:5.2f}" for mark in marks]
            parts.append(f"{statistics.median(self.first_s):5.2f}")
            parts.append(f"{self.words - len(self.delays_s):4}")
        else:
            parts += ["    -"] * 6 + ["   -"]
        return "  ".join([*parts, f"{self.peak_mb:5.0f}"])


HEAD = (
    f"{'':34}  {'WER':>7}  {'cpu/s':>6}  {'seen':>5}  {'p90':>5}  {'p50':>5}  {'p90':>5}"
    f"  {'p95':>5}  {'first':>5}  {'skip':>4}  {'MB':>5}"
)


def embedded_engine() -> Engine:
    """The engine as the server runs it."""
    return EmbeddedEngine.load(EngineSettings(name="embedded", sessions=1))


def whisper_engine() -> Engine:
    """The peer, with as many threads."""
    from bench.peers import WhisperEngine  # noqa: PLC0415  only this process needs it

    return WhisperEngine(usable_cores())


async def play(engine: Engine, clip: Clip, speed: float) -> list[tuple[float, Token]]:
    """Feed a clip, in real time at speed 1, at once at 0: its tokens with their time of arrival."""
    session = engine.session()
    await session.start()
    started = time.perf_counter()

    async def listen() -> list[tuple[float, Token]]:
        return [(time.perf_counter() - started, token) async for token in session]

    async with asyncio.TaskGroup() as group:
        heard = group.create_task(listen())
        step = sample_count(_BLOCK_S)
        for start in range(0, len(clip.samples), step):
            due = started + speed * (start + step) / 16_000
            await asyncio.sleep(max(0.0, due - time.perf_counter()) if speed else 0)
            await session.feed(clip.samples[start : start + step])
        await session.finish()
    return heard.result()


async def play_all(engine: Engine, clips: list[Clip], streams: int, row: Row) -> None:
    """Every stream plays all clips; each starts with another clip, at another moment."""

    async def stream(index: int) -> None:
        await asyncio.sleep(index * 0.37)
        for offset in range(len(clips)):
            clip = clips[(index * 5 + offset) % len(clips)]
            row.add(clip, await play(engine, clip, 1.0))

    async with asyncio.TaskGroup() as group:
        for index in range(streams):
            group.create_task(stream(index))


async def play_files(engine: Engine, clips: list[Clip], row: Row) -> None:
    """One file after the other at full speed; no delays, because nobody waits."""
    for clip in clips:
        row.errors.add(clip.text, text_of(await play(engine, clip, 0.0)))
        row.audio_s += clip.length_s


async def transcribe_files(engine: Engine, clips: list[Clip], row: Row) -> None:
    """The peer in its intended use: whole recordings."""
    for clip in clips:
        words = await engine.words(clip.samples)  # type: ignore[attr-defined]
        row.errors.add(clip.text, "".join(text for text, _ in words))
        row.audio_s += clip.length_s


def measure(
    row: Row,
    load: Callable[[], Engine],
    work: Callable[[Engine, Row], "asyncio.Future[None]"],
) -> Row:
    """Load the engine, run the work, and count time and memory; needs its own process."""

    async def run() -> None:
        engine = load()
        wall, cpu = time.perf_counter(), time.process_time()
        await work(engine, row)
        row.wall_s = time.perf_counter() - wall
        row.cpu_s = time.process_time() - cpu
        await engine.close()

    asyncio.run(run())
    row.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def apart(task: Callable[[], Row]) -> Row:
    """Run in a fresh process and print the row."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        row = pool.submit(task).result()
    print(row.line(), flush=True)
    return row


def _files(engine: Engine, row: Row, *, clips: list[Clip]) -> "asyncio.Future[None]":
    return asyncio.ensure_future(play_files(engine, clips, row))


def _peer_files(engine: Engine, row: Row, *, clips: list[Clip]) -> "asyncio.Future[None]":
    return asyncio.ensure_future(transcribe_files(engine, clips, row))


def _live(engine: Engine, row: Row, *, clips: list[Clip], streams: int) -> "asyncio.Future[None]":
    return asyncio.ensure_future(play_all(engine, clips, streams, row))


def _ladder(name: str, load: Callable[[], Engine], clips: list[Clip], steps: list[int]) -> None:
    """Add streams until half of the words are too late."""
    for streams in steps:
        work = partial(_live, clips=clips, streams=streams)
        label = f"{name}, {streams} live"
        row = apart(partial(measure, Row(label), load, work))
        if row.delays_s and statistics.median(row.delays_s) > _TOO_LATE_S:
            break


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.embedded")
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--quick", action="store_true", help="only every third clip")
    parser.add_argument("--streams", default="1,2,4,8,12,16")
    parser.add_argument("--only", choices=["lanscribe", "whisper"], help="one engine only")
    arguments = parser.parse_args()
    steps = [int(part) for part in arguments.streams.split(",")]
    clips = read_clips(arguments.audio)
    clips = clips[_QUICK] if arguments.quick else clips
    total_s = sum(clip.length_s for clip in clips)
    print(f"{len(clips)} clips, {total_s:.0f} s, {usable_cores()} cores; cpu/s: processor seconds")
    print("for a second of audio; seen p90: delays in s until words are shown, p50 p90 p95: until")
    print("they are settled, first: of the first word; skip: words without a delay\n")
    print(HEAD, flush=True)
    if arguments.only != "whisper":
        work = partial(_files, clips=clips)
        apart(partial(measure, Row("lanscribe, files"), embedded_engine, work))
        _ladder("lanscribe", embedded_engine, clips, steps)
    if arguments.only != "lanscribe":
        work = partial(_peer_files, clips=clips)
        apart(partial(measure, Row("whisper tiny.en, files"), whisper_engine, work))
        _ladder("whisper tiny.en", whisper_engine, clips, steps)


if __name__ == "__main__":
    main()
