"""How tasks that share a state wait for each other without queues between them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Changes:
    """Whoever changes the shared state calls `tell`; whoever needs a condition awaits `until`."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until holds() is true; it is looked at now and after every `tell`."""
        async with self._condition:
            await self._condition.wait_for(holds)

    async def until_at_most(self, longest_s: float, holds: Callable[[], bool]) -> None:
        """The same, but after so long it is given up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self.until(holds)

    async def tell(self) -> None:
        """Let everybody who waits look again."""
        async with self._condition:
            self._condition.notify_all()


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
