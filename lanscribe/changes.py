"""How tasks that share a state wait for each other without queues between them."""

import asyncio
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
