"""Three hours of talk: the last one costs what the first one did, and no word is missing."""

import asyncio
import gc
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import (
    KEPT_S,
    MAX_UNHEARD_S,
    EndlessEngine,
    EndlessSession,
)
from lanscribe.endless.waiting import MAX_WAITING_TOKENS
from lanscribe.engines.fake import FakeEngine, FakeSession, spoken
from lanscribe.speech.audio import Samples, duration_s
from tests.flawed import after, breaks

HOURS = 3
PARTS = 4
WORDS = 30_000
"""So many different ones, then again from the first."""
BROKEN_EACH = 20
"""Every so many engine sessions one breaks, after half a minute."""


class CountingSession(FakeSession):
    """Counts what all of its kind are given."""

    samples = 0

    async def feed(self, samples: Samples) -> None:
        CountingSession.samples += len(samples)
        await super().feed(samples)


class CountingEngine(FakeEngine):
    sessions = 0

    def session(self) -> FakeSession:
        self.sessions += 1
        is_broken = self.sessions % BROKEN_EACH == 0
        return after(30.0, breaks)() if is_broken else CountingSession()


def talk(seed: int) -> Iterator[list[int]]:
    """Minutes of talk without end: phrases and pauses; half of each third minute is silent."""
    rng = np.random.default_rng(seed)
    word = 0
    for number in itertools.count():
        minute: list[int] = [0] * (375 if number % 3 == 0 else 0)
        while len(minute) < 750:
            length = int(rng.integers(1, 30))
            minute += [1000 + one % WORDS for one in range(word, word + length)]
            minute += [0] * int(rng.integers(2, 20))
            word += length
        yield minute


@dataclass(frozen=True)
class Part:
    """What one part of the session took."""

    audio_s: float
    sessions: int
    samples: int
    blocks: int
    """Blocks of memory in use at its end, by the interpreter's own count."""


def test_three_hours_take_no_more_at_the_end_than_at_the_start() -> None:
    parts = asyncio.run(three_hours())
    per_second = [(part.sessions / part.audio_s, part.samples / part.audio_s) for part in parts]
    first, last = per_second[0], per_second[-1]
    assert last[0] < 1.3 * first[0]
    assert last[1] < 1.1 * first[1]
    # a session of full age keeps 20,000; some 70,000 words of three each were said between
    assert parts[-1].blocks - parts[0].blocks < 25_000


async def three_hours() -> list[Part]:
    engine = CountingEngine()
    session = EndlessEngine(engine, Timing()).session()
    await session.start()
    minutes = talk(seed=1)
    expected: asyncio.Queue[int] = asyncio.Queue()
    parts: list[Part] = []
    fed_samples = 0

    async def feed_part() -> None:
        nonlocal fed_samples
        before = engine.sessions, CountingSession.samples, fed_samples
        for _ in range(HOURS * 60 // PARTS):
            minute = next(minutes)
            for number in filter(None, minute):
                expected.put_nowait(number)
            samples = spoken(minute)
            for start in range(0, len(samples), 8000):
                await session.feed(samples[start : start + 8000])
                check_bounds(session)
            fed_samples += len(samples)
        gc.collect()
        parts.append(
            Part(
                audio_s=duration_s(fed_samples - before[2]),
                sessions=engine.sessions - before[0],
                samples=CountingSession.samples - before[1],
                blocks=sys.getallocatedblocks(),
            )
        )

    async def feed() -> None:
        for _ in range(PARTS):
            await feed_part()
        await session.finish()

    feeding = asyncio.create_task(feed())
    async for token in session:
        if token.text:
            assert int(token.text) == expected.get_nowait()
    await feeding
    await session.abort()
    assert expected.empty()
    assert token.end_s == duration_s(fed_samples)
    return parts


def check_bounds(session: EndlessSession) -> None:
    """All that a session keeps."""
    assert len(session._ring) <= 16_000 * (KEPT_S + MAX_UNHEARD_S + 2)
    assert len(session._said) <= KEPT_S / 0.08 + 2
    assert len(session._waiting) <= MAX_WAITING_TOKENS
