"""The fake engine with faults, and what tests of endless sessions do with it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np

from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.base import Engine, EngineInfo
from lanscribe.engines.fake import FakeEngine, FakeSession, spoken
from lanscribe.errors import EngineFailed, EngineUnavailable
from lanscribe.speech.audio import Samples
from lanscribe.speech.transcript import Token

FAST = Timing(target_s=4, limit_s=6, pause_s=0.4, overlap_s=2, rut_s=4, stall_s=60, retry_s=300)


class FlawedEngine(FakeEngine):
    """The fake engine with faults: `flaw(number)` says what is wrong with session `number`."""

    def __init__(self, flaw: Callable[[int], "type[FakeSession]"]) -> None:
        super().__init__()
        self._flaw = flaw
        self.sessions: list[FakeSession] = []

    def describe(self) -> EngineInfo:
        return replace(super().describe(), may_go_deaf=True)

    def session(self) -> FakeSession:
        self.sessions.append(self._flaw(len(self.sessions))())
        return self.sessions[-1]


class Discerning(FakeSession):
    """Hears words only in frames without noise."""

    def _hear(self, frame: Samples) -> Token:
        is_word = bool(np.all(frame == frame[0]))
        return super()._hear(frame if is_word else np.zeros_like(frame))


def after(seconds: float, fault: Callable[[], AsyncIterator[Token]]) -> type[FakeSession]:
    """A session that is sound for some audio, then does what `fault` does."""

    class Flawed(Discerning):
        async def __aiter__(self) -> AsyncIterator[Token]:
            async for token in FakeSession.__aiter__(self):
                if token.end_s > seconds:
                    break
                yield token
            else:
                return
            async for token in fault():
                yield token

    return Flawed


async def breaks() -> AsyncIterator[Token]:
    raise EngineFailed("broken on purpose")
    yield Token("", 0.0)


async def ends() -> AsyncIterator[Token]:
    return
    yield Token("", 0.0)


async def hangs() -> AsyncIterator[Token]:
    await asyncio.Event().wait()
    yield Token("", 0.0)


def deaf_after(seconds: float) -> type[FakeSession]:
    """A session that is sound for some audio, then listens on and finds no more words."""

    class DeafAfter(Discerning):
        async def __aiter__(self) -> AsyncIterator[Token]:
            async for token in FakeSession.__aiter__(self):
                yield token if token.end_s <= seconds else Token("", token.end_s)

    return DeafAfter


class Deaf(FakeSession):
    """Hears, but finds no words."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        async for token in FakeSession.__aiter__(self):
            yield Token("", token.end_s)


class Away(FakeSession):
    async def start(self) -> None:
        raise EngineUnavailable("restarting")


def numbers_with_pauses(seed: int, count: int) -> list[int]:
    """Words of 80 ms, with a pause of 0.4 to 0.8 s after every ten or so."""
    rng = np.random.default_rng(seed)
    numbers: list[int] = []
    for number in range(count):
        numbers.append(1000 + number)
        if rng.random() < 0.1:
            numbers += [0] * int(rng.integers(5, 10))
    return numbers


async def transcribe(engine: Engine, samples: Samples, piece: int = 1600) -> list[Token]:
    session = engine.session()
    await session.start()

    async def feed() -> None:
        for start in range(0, len(samples), piece):
            await session.feed(samples[start : start + piece])
        await session.finish()

    feeding = asyncio.create_task(feed())
    try:
        return [token async for token in session]
    finally:
        feeding.cancel()
        await session.abort()


def run(engine: Engine, numbers: Sequence[int], rollover: Timing = FAST) -> list[Token]:
    tokens = asyncio.run(transcribe(EndlessEngine(engine, rollover), spoken(numbers)))
    ends = [token.end_s for token in tokens if token.text]
    assert ends == sorted(ends)
    return tokens


def sound(_number: int) -> type[FakeSession]:
    return FakeSession
