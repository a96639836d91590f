"""Words that may still change, over seams and failures: they follow the text or are not told."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lanscribe.backoff import Backoff
from lanscribe.endless import rollover
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.fake import FakeSession, spoken
from lanscribe.errors import EngineFailed
from lanscribe.speech.transcript import Token
from tests.engines.driving import text_of
from tests.flawed import FAST, Away, FlawedEngine, numbers_with_pauses, run
from tests.guessing import WRONG, guesser, screens
from tests.support import DEADLINE_S, counting


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the next attempt is made at once."""
    monkeypatch.setattr(rollover, "BACKOFF", Backoff(first_s=0.0, longest_s=0.0))


def guesses(seed: int, *, tells: bool = True) -> FlawedEngine:
    """Sessions that guess, of which some break after some seconds."""

    def flaw(number: int) -> type[FakeSession]:
        rng = random.Random(1000 * seed + number)
        is_flawed = number % 2 == 0 and rng.random() < 0.8
        breaks_s = rng.uniform(0, 5) if is_flawed else 1e9
        return guesser(rng.randrange(10**6), tells=tells, breaks_s=breaks_s)

    return FlawedEngine(flaw)


def speech(seed: int) -> list[int]:
    """With pauses or without, which is the hardest to join."""
    return numbers_with_pauses(seed, 250) if seed % 2 else [*range(1000, 1250)]


@pytest.mark.parametrize("seed", range(24))
def test_no_word_is_shown_twice_or_out_of_its_place(seed: int) -> None:
    numbers = speech(seed)
    tokens = run(guesses(seed), numbers, FAST)
    truth = counting(numbers)
    assert text_of(tokens) == truth
    for screen in screens(tokens):
        assert truth.startswith(screen.replace(WRONG, "")), f"seed {seed}"
    assert sum(bool(token.tentative) for token in tokens) > len(tokens) / 10


@pytest.mark.parametrize("seed", range(24))
def test_what_is_settled_is_the_same_without_tentative_words(seed: int) -> None:
    told = run(guesses(seed), speech(seed), FAST)
    settled = [replace(token, tentative="") for token in told if not token.is_tentative]
    assert settled == run(guesses(seed, tells=False), speech(seed), FAST)
    check_form(told)


def check_form(tokens: list[Token]) -> None:
    """The last token tells none, and one that tells them alone tells nothing else."""
    assert tokens[-1].tentative == ""
    heard_s = settled_s = 0.0
    for token in tokens:
        if token.is_tentative:
            assert not token.text
            assert (token.end_s, token.known_s) <= (heard_s, settled_s)
        heard_s, settled_s = max(heard_s, token.end_s), max(settled_s, token.known_s)


class Stuck(FakeSession):
    """Says nothing."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        await asyncio.Event().wait()
        yield Token("", 0.0)


class Broken(FakeSession):
    """Has one tentative word, and breaks."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        yield Token("", 0.1, settled_s=0.0, tentative="1000")
        raise EngineFailed("broken on purpose")


@pytest.mark.parametrize("follower", [Stuck, Away], ids=["hangs", "away"])
def test_after_a_failure_they_are_gone_at_once(follower: type[FakeSession]) -> None:
    """Long before another engine session tells anything."""

    async def converse() -> None:
        engine = FlawedEngine(lambda number: follower if number else Broken)
        session = EndlessEngine(engine, Timing()).session()
        await session.start()
        await session.feed(spoken([1000, 1001]))
        tokens = aiter(session)
        async with asyncio.timeout(DEADLINE_S):
            assert (await anext(tokens)).tentative == "1000"
            gone = await anext(tokens)
        assert (gone.tentative, gone.is_tentative) == ("", True)
        await session.abort()

    asyncio.run(converse())


class Careless(FakeSession):
    """Tells a tentative word with its last token, which the contract forbids."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        tokens = [token async for token in super().__aiter__()]
        yield Token("", tokens[-1].end_s, tentative="1000")


def test_at_the_end_there_are_none_whatever_the_engine_says() -> None:
    tokens = run(FlawedEngine(lambda _: Careless), [1000], FAST)
    assert [token.tentative for token in tokens] == ["1000", ""]
