"""The fake engine as one that writes its words late and tells them before, now and then wrongly."""

import asyncio
import math
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from lanscribe.engines.fake import FakeEngine, FakeSession
from lanscribe.errors import EngineFailed
from lanscribe.speech.transcript import Token

WRONG = "?"
"""What a tentative word has before its number if it is a wrong guess."""


class Guesser(FakeSession):
    """Keeps back its newest words, and tells them as tentative; which and when, a seed decides.

    tells: whether it does; without it everything else is the same.
    """

    seed = 0
    tells = True
    breaks_s = math.inf
    """How far it listens before it breaks."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        async for token in self._guesses():
            for _ in range(5):  # or guesses would be out of date before the caller has them
                await asyncio.sleep(0)
            if token.end_s > self.breaks_s:
                raise EngineFailed("broken on purpose")
            yield token

    async def _guesses(self) -> AsyncIterator[Token]:
        rng, kept, end_s = random.Random(self.seed), list[Token](), 0.0
        async for token in FakeSession.__aiter__(self):
            end_s = token.end_s
            kept += [token] if token.text else []
            for _ in range(rng.randint(0, len(kept)) if rng.random() < 0.4 else 0):
                word = kept.pop(0)
                yield replace(word, tentative=self._guess(kept, rng))
            tentative = self._guess(kept, rng)
            if rng.random() < 0.5:
                settled_s = kept[0].begin_s if kept else end_s
                yield Token("", end_s, settled_s=settled_s, tentative=tentative)
            elif rng.random() < 0.5 and self.tells:
                yield Token("", 0.0, tentative=tentative, is_tentative=True)
        if self._is_aborted:
            return
        for word in kept:
            yield word
        yield Token("", end_s)

    def _guess(self, kept: list[Token], rng: random.Random) -> str:
        words = [token.text for token in kept]
        if words and rng.random() < 0.3:
            wrong = rng.randrange(len(words))
            words[wrong] = re.sub(r"(?=\d+)\b", WRONG, words[wrong], count=1)
        return "".join(words) if self.tells else ""


def guesser(seed: int, *, tells: bool = True, breaks_s: float = math.inf) -> type[Guesser]:
    """A session that guesses as the seed has it, and breaks when it has listened so far."""
    return type("Seeded", (Guesser,), {"seed": seed, "tells": tells, "breaks_s": breaks_s})


class GuessingEngine(FakeEngine):
    """Each of its sessions guesses by another seed."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._seed = seed

    def session(self) -> FakeSession:
        self._seed += 1
        return guesser(self._seed)()


def screens(tokens: Sequence[Token]) -> list[str]:
    """What a client shows after each token: the text so far, and the tentative words."""
    text, shown = "", []
    for token in tokens:
        text += token.text
        shown.append(text + token.tentative)
    return shown
