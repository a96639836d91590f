"""Running asyncio tasks together and ending them together."""

import asyncio
from collections.abc import Coroutine, Iterator
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
