"""Notices an engine session that owes something and says nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from lanscribe.speech.transcript import Token


class Watchdog:
    """Knows whether an engine session is waited for, and for how long.

    stall_s: how long it may owe something and say nothing.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._awaited_since_s: float | None = None
        self._is_handing_over = False

    async def next_of(self, tokens: AsyncIterator[Token]) -> Token | None:
        """The engine session's next token; None after the last."""
        self._awaited_since_s = asyncio.get_running_loop().time()
        try:
            return await anext(tokens, None)
        finally:
            self._awaited_since_s = None

    async def handed_over(self, call: Coroutine[Any, Any, None]) -> None:
        """Await a call that hands something to the engine session."""
        self._is_handing_over = True
        try:
            await call
        finally:
            self._is_handing_over = False

    async def stalled(self, owes: Callable[[], bool]) -> None:
        """Wait until a token has not come for stall_s while the engine session owes one."""
        now_s, idle_until_s = asyncio.get_running_loop().time, 0.0
        while True:
            since_s = self._awaited_since_s or now_s()
            await asyncio.sleep(max(since_s, idle_until_s) + self._stall_s - now_s())
            if since_s != self._awaited_since_s:
                continue
            if owes() or self._is_handing_over:
                return
            idle_until_s = now_s()
