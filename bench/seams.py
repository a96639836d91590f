"""The cost of seams between engine sessions in real speech, beside a naive cut.

    python -m bench.seams --audio FOLDER [--session-s 20]

Word errors of the embedded engine over all clips, one after the other without a gap.
"""

import argparse
import asyncio
import csv
import itertools
import os
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from bench.speech import ErrorCount
from bench.words import plain_words
from lanscribe.config import EngineSettings
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.engines.embedded.engine import EmbeddedEngine
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import SpeechDetector
from lanscribe.speech.transcript import Token
from lanscribe.voxtral.steps import STEP_S
from tests.engines.driving import listen, text_of

GROUPS = {"clean", "libri"}
"""English speech, in the manifest."""
LEADS_S = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Silence before the first word, one per round."""
WAYS = ("no seam", "seams at pauses", "seams in speech", "cut in speech, naive")


class Fed(EngineSession):
    """An engine session that records its audio."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session
        self.blocks: list[Samples] = []

    async def start(self) -> None:
        """Start."""
        await self._session.start()

    async def feed(self, samples: Samples) -> None:
        """Record the audio and pass it on."""
        self.blocks.append(samples.copy())
        await self._session.feed(samples)

    async def finish(self) -> None:
        """Finish."""
        await self._session.finish()

    async def abort(self) -> None:
        """Abort."""
        await self._session.abort()

    async def __aiter__(self) -> AsyncIterator[Token]:
        """Its tokens."""
        async for token in self._session:
            yield token


class FedEngine(Engine):
    """An engine that records the audio of its sessions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.fed: list[Fed] = []

    def describe(self) -> EngineInfo:
        """The facts of the inner engine."""
        return self._engine.describe()

    def session(self) -> Fed:
        """Open a session that records."""
        self.fed.append(Fed(self._engine.session()))
        return self.fed[-1]

    def detector(self) -> SpeechDetector:
        """The engine's own."""
        return self._engine.detector()

    async def close(self) -> None:
        """Do nothing: the owner closes the inner engine."""

    def cuts(self, samples: Samples) -> list[int]:
        """The samples at which one engine session ended and the next began."""
        ends = []
        for one in self.fed:
            fed = np.concatenate(one.blocks)
            starts = range(0, len(samples), sample_count(STEP_S))
            first = next(at for at in starts if np.array_equal(samples[at:][: len(fed)], fed))
            ends.append(first + len(fed))
        return ends[:-1]


async def naive(engine: Engine, samples: Samples, cuts: Sequence[int]) -> str:
    """Run one engine session after the other, from cut to cut; return the joined texts."""
    edges = [0, *cuts, len(samples)]
    pieces = [samples[one:two] for one, two in itertools.pairwise(edges)]
    texts = [text_of(await listen(engine, piece, sample_count(0.1))) for piece in pieces]
    return " ".join(texts)


async def endless(engine: Engine, samples: Samples, rollover: Timing) -> tuple[str, list[int]]:
    """The text, and where it was cut."""
    fed = FedEngine(engine)
    tokens = await listen(EndlessEngine(fed, rollover), samples, sample_count(0.1))
    return text_of(tokens), fed.cuts(samples)


@dataclass
class Tally:
    """The cost of one way to change sessions, over all rounds."""

    percents: list[float] = field(default_factory=list)
    seams: int = 0
    lost: int = 0
    added: int = 0
    changed: int = 0

    def add(self, text: str, plain: str, reference: str, seam_count: int) -> None:
        """Count a round: errors against the reference, differences from the text without seams."""
        errors = ErrorCount()
        errors.add(reference, text)
        words = [" ".join(plain_words(one)) for one in (plain, text)]
        changes = jiwer.process_words(words[:1], words[1:])
        self.percents.append(errors.percent)
        self.seams += seam_count
        self.lost += changes.deletions
        self.added += changes.insertions
        self.changed += changes.substitutions

    def row(self, name: str) -> str:
        """A line of the table."""
        low, mean, high = min(self.percents), statistics.mean(self.percents), max(self.percents)
        return (
            f"| {name} | {self.seams} | {mean:.2f} % ({low:.1f} to {high:.1f}) | {self.lost}"
            f" | {self.added} | {self.changed} |"
        )


async def seams(folder: Path, seconds: float) -> None:
    """Print word errors with and without seams, and the cost of the seams.

    Words of which the model is unsure change with the time of a hypothesis. So there are rounds,
    each with a little more silence before the first word.
    """
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["group"] in GROUPS]
    clips = [soundfile.read(folder / row["file"], dtype="float32")[0] for row in rows]
    reference = " ".join(row["reference"] for row in rows)
    engine = EmbeddedEngine.load(EngineSettings(name="embedded"))
    tallies = {name: Tally() for name in WAYS}
    for lead_s in LEADS_S:
        samples = np.concatenate([np.zeros(sample_count(lead_s), dtype=np.float32), *clips])
        texts = await cut_every_way(engine, samples, seconds)
        plain, _ = texts[WAYS[0]]
        for name, (text, count) in texts.items():
            tallies[name].add(text, plain, reference, count)
    await engine.close()
    print(f"{len(clips)} clips, {len(LEADS_S)} rounds; load {os.getloadavg()[0]:.1f}\n")
    print("| | seams | word errors, mean (range) | lost | doubled or new | changed |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, tally in tallies.items():
        print(tally.row(name))


async def cut_every_way(
    engine: Engine, samples: Samples, seconds: float
) -> dict[str, tuple[str, int]]:
    """The text, and how many seams it has, by each of WAYS."""
    never = Timing(target_s=7200, limit_s=7200, idle_s=7200)
    pauses = Timing(target_s=seconds, limit_s=2 * seconds)
    anywhere = Timing(target_s=seconds, limit_s=seconds, pause_s=10)
    plain, _ = await endless(engine, samples, never)
    at_pauses, pause_cuts = await endless(engine, samples, pauses)
    at_once, cuts = await endless(engine, samples, anywhere)
    hard = await naive(engine, samples, cuts)
    counts = 0, len(pause_cuts), len(cuts), len(cuts)
    return dict(zip(WAYS, zip((plain, at_pauses, at_once, hard), counts, strict=True), strict=True))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.seams")
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--session-s", type=float, default=20.0)
    chosen = parser.parse_args()
    asyncio.run(seams(chosen.audio, chosen.session_s))


if __name__ == "__main__":
    main()
