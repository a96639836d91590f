"""How asyncio tasks run and end together, and wait for each other without queues between them."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run them until the first one ends, then end the others. Raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; what they raise is for who looked before."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    """All errors of a group, those of groups within it too."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


class Changes:
    """Whoever changes the shared state calls `tell`; whoever needs a condition awaits `until`.

    A condition is a function without side effects. `tell` wakes those alone whose condition holds,
    so what concerns nobody costs nobody a turn of the event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until holds() is true; it is asked now, at every `tell` and after waking."""
        while not holds():
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[woken] = holds
            try:
                await woken
            finally:
                del self._waiting[woken]

    async def until_at_most(self, longest_s: float, holds: Callable[[], bool]) -> None:
        """Wait in the same way, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self.until(holds)

    def tell(self) -> None:
        """Wake everybody whose condition holds now."""
        for woken, holds in self._waiting.items():
            if not woken.done() and holds():
                woken.set_result(None)


class Line:
    """Those who are in no hurry: one of them goes on in each turn of the event loop.

    What somebody in a hurry does takes many turns of the loop, each as long as all that is ready
    then takes. So however many are in the line, it takes little longer.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_moving = False

    async def turn(self) -> None:
        """Wait for one's turn, first come, first served."""
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
