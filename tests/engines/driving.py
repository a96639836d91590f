"""What tests of engines do with engine sessions."""

import asyncio
from collections.abc import Sequence

from lanscribe.engines.base import Engine, EngineSession
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.transcript import Token
from tests.support import words

DEADLINE_S = 120
_SLOWEST_RTF = 2.0
"""Two files of 300 s at once took over 120 s on two cores that 30 programs used."""


async def drain(session: EngineSession) -> list[Token]:
    """Every token until the session ends."""
    return [token async for token in session]


async def listen(engine: Engine, samples: Samples, block_samples: int) -> list[Token]:
    """Feed the samples in blocks, as fast as the engine takes them; all of its tokens."""
    session = engine.session()
    await session.start()
    deadline_s = DEADLINE_S + _SLOWEST_RTF * duration_s(len(samples))
    async with asyncio.timeout(deadline_s), asyncio.TaskGroup() as group:
        tokens = group.create_task(drain(session))
        for start in range(0, len(samples), block_samples):
            await session.feed(samples[start : start + block_samples])
        await session.finish()
    return tokens.result()


def hear(engine: Engine, samples: Samples, block_samples: int = 16_000) -> list[Token]:
    """`listen`, with an event loop of its own."""
    return asyncio.run(listen(engine, samples, block_samples))


def text_of(tokens: Sequence[Token]) -> str:
    """The transcript."""
    return "".join(token.text for token in tokens)


def words_of(tokens: Sequence[Token]) -> list[str]:
    """The words of the transcript, without case and punctuation."""
    return words(text_of(tokens))
