"""When an engine session is given up because it says nothing, in time that jumps over all waits."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from lanscribe.endless.session import STARVED_S, EndlessEngine
from lanscribe.endless.waiting import MAX_WAITING_TOKENS
from lanscribe.engines.fake import FRAME_SAMPLES, FakeSession, spoken
from lanscribe.speech.audio import duration_s
from lanscribe.speech.transcript import Token
from tests.engines.driving import text_of
from tests.flawed import FAST, FlawedEngine
from tests.support import counting

FRAME_S = duration_s(FRAME_SAMPLES)
STALL_S = 1.2 * STARVED_S
"""As in earnest, an idle engine session is released before that."""
IDLE_S = 0.9 * STARVED_S
TIMING = replace(FAST, target_s=200, limit_s=300, stall_s=STALL_S)
SEEDS = range(20)


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its clock stands still, and goes on to the next timer when nothing else is ready."""

    _now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now_s = max(self._now_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(scenario)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Timed(FlawedEngine):
    """Its first session hangs after some audio; it notes when each session begins."""

    def __init__(self, hangs_after_s: float) -> None:
        super().__init__(lambda number: FakeSession)
        self.hangs_after_s = hangs_after_s
        self.began_s: list[float] = []
        self.last_token_s = 0.0

    def session(self) -> FakeSession:
        self.began_s.append(now_s())
        return _Hanging(self) if len(self.began_s) == 1 else FakeSession()


class _Hanging(FakeSession):
    def __init__(self, engine: Timed) -> None:
        super().__init__()
        self._engine = engine

    async def __aiter__(self) -> AsyncIterator[Token]:
        async for token in super().__aiter__():
            if token.end_s > self._engine.hangs_after_s:
                await asyncio.Event().wait()
            self._engine.last_token_s = now_s()
            yield token


def test_a_session_that_hangs_is_given_up_so_long_after_its_last_token() -> None:
    async def speak(seed: int) -> None:
        random_ = random.Random(seed)
        numbers = range(1, random_.randint(100, 200))
        engine = Timed(random_.uniform(0, 5))
        session = EndlessEngine(engine, TIMING).session()
        began_s = now_s()
        await session.start()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(all_of(session.__aiter__()))
            for number in numbers:
                await session.feed(spoken([number]))
                await asyncio.sleep(FRAME_S)
            await session.finish()
        assert text_of(listening.result()) == counting(numbers), f"seed {seed}"
        waited_s = engine.began_s[1] - max(engine.last_token_s, began_s)
        assert waited_s == pytest.approx(STALL_S), f"seed {seed}"

    for seed in SEEDS:
        run(speak(seed))


async def all_of(tokens: AsyncIterator[Token]) -> list[Token]:
    return [token async for token in tokens]


def test_an_engine_that_waits_for_the_sender_or_the_reader_is_not_given_up() -> None:
    """However long: nothing is owed, or what is owed is there and nobody takes it."""
    numbers = range(1, MAX_WAITING_TOKENS + 200)

    async def speak(seed: int) -> None:
        random_ = random.Random(seed)
        engine = Timed(hangs_after_s=1e9)
        session = EndlessEngine(engine, TIMING).session()
        await session.start()

        async def read() -> list[Token]:
            await asyncio.sleep(random_.uniform(0, 9) * STALL_S)
            return await all_of(session.__aiter__())

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            for number in numbers:
                await session.feed(spoken([number]))
                await asyncio.sleep(random_.choice([FRAME_S, FRAME_S, IDLE_S]))
            await session.finish()
        assert text_of(reading.result()) == counting(numbers), f"seed {seed}"
        assert len(engine.began_s) == 1, f"seed {seed}"

    for seed in SEEDS:
        run(speak(seed))
