"""Running an engine session: it always ends, and one error comes out."""

import asyncio
import contextlib
import itertools

import pytest

from lanscribe.engines.base import running
from lanscribe.engines.fake import FakeEngine, FakeSession, spoken
from lanscribe.errors import EngineFailed, EngineUnavailable
from tests.engines.driving import drain, text_of
from tests.support import DEADLINE_S


class _Watched(FakeEngine):
    """Remembers whether its session was aborted, and starts only if there is no `fault`."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.is_aborted = False

    def session(self) -> FakeSession:
        return _WatchedSession(self)


class _WatchedSession(FakeSession):
    def __init__(self, engine: _Watched) -> None:
        super().__init__()
        self._engine = engine

    async def start(self) -> None:
        if self._engine.fault:
            raise self._engine.fault

    async def abort(self) -> None:
        await super().abort()
        self._engine.is_aborted = True


async def fail(error: Exception) -> None:
    raise error


def test_it_is_fed_heard_and_aborted() -> None:
    engine = _Watched()

    async def run() -> str:
        async with running(engine) as (session, tasks):
            listening = tasks.create_task(drain(session))
            await session.feed(spoken([1, 2, 3]))
            await session.finish()
        return text_of(listening.result())

    assert asyncio.run(run()) == "1 2 3"
    assert engine.is_aborted


def test_one_that_does_not_start_is_aborted_too() -> None:
    engine = _Watched(EngineUnavailable("away"))

    async def run() -> None:
        async with running(engine):
            pytest.fail("it did not start")

    with pytest.raises(EngineUnavailable, match="away"):
        asyncio.run(run())
    assert engine.is_aborted


def test_tasks_end_with_it_when_it_is_cancelled() -> None:
    engine, ended = _Watched(), asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> None:
        async with running(engine) as (_, tasks):
            tasks.create_task(wait())
            await asyncio.Event().wait()

    async def cut() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await run()

    asyncio.run(cut())
    assert ended.is_set()
    assert engine.is_aborted


@pytest.mark.parametrize(
    "order", list(itertools.permutations([EngineFailed("a"), EngineFailed("b"), OSError("c")]))
)
def test_of_several_errors_one_that_is_not_the_engines_comes_out(
    order: tuple[Exception, ...],
) -> None:
    async def run(errors: tuple[Exception, ...]) -> None:
        async with running(FakeEngine()) as (_, tasks):
            for error in errors:
                tasks.create_task(fail(error))

    with pytest.raises(OSError, match="c"):
        asyncio.run(run(order))
    engines = tuple(error for error in order if isinstance(error, EngineFailed))
    with pytest.raises(EngineFailed, match=str(engines[0])):
        asyncio.run(run(engines))


@pytest.mark.parametrize("turns", range(8))
def test_a_cancellation_in_the_moment_of_an_error_is_not_lost(turns: int) -> None:
    """The error comes in the fourth turn of the event loop; its tasks take a few to end."""
    engine = _Watched()

    async def fail_later() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        raise EngineFailed("a")

    async def run() -> None:
        async with running(engine) as (_, tasks):
            tasks.create_task(fail_later())
            await asyncio.Event().wait()

    async def go_on_after_failures() -> None:
        while True:
            with contextlib.suppress(EngineFailed):
                await run()

    async def cancel() -> None:
        task = asyncio.create_task(go_on_after_failures())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=DEADLINE_S)
        assert done
        assert task.cancelled()

    asyncio.run(cancel())
    assert engine.is_aborted == (turns > 0)
