"""How asyncio tasks run and end together, and wait for each other without queues between them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until the first one ends, then end the others. Raises its error."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; ignores their errors, which the caller may read before."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that loses no cancellation; its end waits for all tasks.

    Raises a BaseExceptionGroup, or CancelledError when somebody has cancelled the caller at the
    moment of an error, which asyncio's own group would forget.
    """
    cancels = _cancels()
    try:
        async with _Tasks() as tasks:
            yield tasks
            await tasks.ended()
    except BaseExceptionGroup as group:
        if _cancels() > cancels:
            raise asyncio.CancelledError from group
        raise


class _Tasks(asyncio.TaskGroup):
    """A task group whose tasks can be awaited before it is left.

    It cancels the caller when a task fails, and until Python 3.13 never takes that back if it is
    being left by then: it would look like a cancellation by somebody else.
    """

    def __init__(self) -> None:
        super().__init__()
        self._created: list[asyncio.Task[Any]] = []

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Run a coroutine in the group."""
        self._created.append(super().create_task(*args, **kwargs))
        return self._created[-1]

    async def ended(self) -> None:
        """Wait until all tasks have ended."""
        if self._created:
            await asyncio.wait(self._created)


def _cancels() -> int:
    """How many times the cancellation of this task was requested."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    """All errors of a group, including those of nested groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


class Changes:
    """Announces changes of shared state: a writer calls `tell`, a waiter awaits `until`.

    A condition is a function without side effects. `tell` wakes only those whose condition holds,
    so a change that concerns nobody costs no turn of the event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until holds() is true; it is checked now, at every `tell` and after waking."""
        while not holds():
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[woken] = holds
            try:
                await woken
            finally:
                del self._waiting[woken]

    async def until_at_most(self, longest_s: float, holds: Callable[[], bool]) -> None:
        """Wait until holds() is true, but no longer than longest_s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self.until(holds)

    def tell(self) -> None:
        """Wake every waiter whose condition holds now."""
        for woken, holds in self._waiting.items():
            if not woken.done() and holds():
                woken.set_result(None)


class Line:
    """A queue for tasks that can wait: one of them continues in each turn of the event loop.

    Urgent work takes many turns of the loop, and each turn lasts as long as all ready tasks take.
    One task per turn makes it take little longer, however many are in the line.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_moving = False

    async def turn(self) -> None:
        """Wait for a turn, first come, first served."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        if not self._is_moving:
            self._is_moving = True
            loop.call_soon(self._move)
        await mine

    def _move(self) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # it has not left
                first.set_result(None)
                break
        self._is_moving = bool(self._waiting)
        if self._is_moving:
            asyncio.get_running_loop().call_soon(self._move)
