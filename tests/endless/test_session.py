"""Engine sessions that end, break, go deaf and hang, and a transcript that shows none of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.endless.rollover import OWED_S, Timing
from lanscribe.endless.session import EndlessEngine, EndlessSession
from lanscribe.endless.stitch import SETTLED_PAST_S
from lanscribe.engines.base import EngineInfo, EngineSession
from lanscribe.engines.fake import FRAME_SAMPLES, FakeEngine, FakeSession, spoken
from lanscribe.errors import EngineError, EngineUnavailable
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.transcript import Token
from tests.engines.driving import text_of
from tests.flawed import (
    FAST,
    Away,
    Deaf,
    Discerning,
    FlawedEngine,
    after,
    breaks,
    deaf_after,
    ends,
    hangs,
    numbers_with_pauses,
    run,
    sound,
    transcribe,
)
from tests.support import DEADLINE_S, counting

IMPATIENT = replace(FAST, stall_s=0.2)
LONG = replace(FAST, target_s=240, limit_s=300)
"""Only a fault ends an engine session."""


@pytest.mark.parametrize("seed", range(5))
def test_rollovers_at_pauses_lose_and_double_nothing(seed: int) -> None:
    numbers = numbers_with_pauses(seed, 600)
    engine = FlawedEngine(sound)
    assert text_of(run(engine, numbers)) == counting(numbers)
    assert len(engine.sessions) > 6


@pytest.mark.parametrize("offset", range(0, FRAME_SAMPLES, 160))
def test_rollovers_in_the_middle_of_speech_at_every_phase_of_a_word(offset: int) -> None:
    numbers = [*range(1000, 1400)]
    engine = FlawedEngine(sound)
    samples = np.concatenate([np.zeros(offset, dtype=np.float32), spoken(numbers)])
    tokens = asyncio.run(transcribe(EndlessEngine(engine, FAST), samples))
    heard = text_of(tokens).split()
    assert heard[:2] in (["1000", "1001"], ["1001", "1002"])
    expected = [str(number) for number in numbers]
    assert heard == expected[expected.index(heard[0]) : len(heard) + expected.index(heard[0])]
    assert len(heard) >= 398
    assert len(engine.sessions) > 5


@pytest.mark.parametrize("fault", [breaks, ends, hangs])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0])
def test_a_session_that_breaks_off_is_taken_up_again(
    fault: Callable[[], AsyncIterator[Token]], seconds: float
) -> None:
    numbers = numbers_with_pauses(1, 300)
    engine = FlawedEngine(lambda number: FakeSession if number % 2 else after(seconds, fault))
    rollover = IMPATIENT if fault is hangs else FAST
    assert text_of(run(engine, numbers, rollover)) == counting(numbers)


@pytest.mark.parametrize("fault", [breaks, ends])
def test_an_engine_that_dies_every_ten_seconds_for_a_minute_shows_nowhere(
    fault: Callable[[], AsyncIterator[Token]],
) -> None:
    """In speech without a pause, which is the hardest to join."""
    numbers = [*range(1000, 1750)]
    engine = FlawedEngine(lambda _: after(10.0, fault))
    assert text_of(run(engine, numbers, Timing())) == counting(numbers)
    assert len(engine.sessions) >= 6


def test_an_engine_that_is_away_is_waited_for() -> None:
    numbers = numbers_with_pauses(2, 100)
    engine = FlawedEngine(lambda number: Away if number < 2 else FakeSession)
    assert text_of(run(engine, numbers)) == counting(numbers)


def test_an_engine_that_stays_away_is_the_clients_error() -> None:
    rollover = replace(FAST, retry_s=0.0)
    with pytest.raises(EngineUnavailable):
        run(FlawedEngine(lambda _: Away), [1000], rollover)


def test_an_engine_that_breaks_every_time_is_the_clients_error() -> None:
    with pytest.raises(EngineError, match="on purpose"):
        run(FlawedEngine(lambda _: after(0.0, breaks)), [*range(1000, 1100)])


def test_a_rut_is_noticed_and_heard_again() -> None:
    numbers = [*range(1000, 1300)]
    engine = FlawedEngine(lambda number: FakeSession if number else Deaf)
    assert text_of(run(engine, numbers, LONG)) == counting(numbers)
    assert len(engine.sessions) == 2


def test_speech_that_no_session_understands_does_not_hold_up_the_rest() -> None:
    numbers = [*range(1000, 1300)]
    engine = FlawedEngine(lambda number: Deaf if number < 3 else FakeSession)
    tokens = run(engine, numbers, LONG)
    heard = text_of(tokens).split()
    assert heard == [str(number) for number in numbers][-len(heard) :]
    lost = [(token.start_s, token.end_s) for token in tokens if token.is_lost]
    assert lost == [(0.0, 2.0), (2.0, 8.0)]
    assert len(heard) == 300 - 8.0 / 0.08


@pytest.mark.parametrize("seed", range(30))
def test_what_is_not_written_down_is_told(seed: int) -> None:
    """However often engine sessions are deaf, and to what: each word is in the text or is lost."""
    random = np.random.default_rng(seed)
    numbers = numbers_with_pauses(seed, 400)
    share = random.uniform(0.1, 0.9)
    deaf = random.random(400) < share
    after_s = random.uniform(0, 6, 400)
    kinds = [
        deaf_after(float(seconds)) if is_deaf else FakeSession
        for is_deaf, seconds in zip(deaf, after_s, strict=True)
    ]
    engine = FlawedEngine(lambda number: kinds[number])
    tokens = run(engine, numbers, LONG if seed % 2 else FAST)
    said = {int(word) for word in text_of(tokens).split()}
    spans = [(token.start_s or 0.0, token.end_s) for token in tokens if token.is_lost]
    places = {number: index * 0.08 for index, number in enumerate(numbers) if number}
    untold = [
        number
        for number, place_s in places.items()
        if number not in said and not any(start - 0.1 <= place_s < end for start, end in spans)
    ]
    together = np.split(np.array(untold), np.flatnonzero(np.diff(untold) > 1) + 1)
    assert max(map(len, together)) <= OWED_S / 0.08 + 1, f"seed {seed}: {untold}, told: {spans}"


class Late(FakeSession):
    """Writes a word down two seconds after it was spoken, and says so."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        words: list[Token] = []
        end_s = 0.0
        async for token in FakeSession.__aiter__(self):
            end_s = token.end_s
            words += [token] if token.text else []
            while words and words[0].end_s <= end_s - LATE_S:
                yield words.pop(0)
            yield Token("", end_s, settled_s=max(0.0, end_s - LATE_S))
        for word in words:
            yield word
        yield Token("", end_s)


LATE_S = 2.0


@pytest.mark.parametrize("seed", range(8))
def test_after_a_cut_in_speech_the_last_words_come_as_soon_as_the_engine_has_written_them(
    seed: int,
) -> None:
    """Nobody has to speak again for them. The cut is at 6 s, and speech ends soon after it."""
    count = int(np.random.default_rng(seed).integers(76, 95))
    numbers = [*range(1000, 1000 + count), *[0] * 60]
    end_s = count * 0.08
    fed_s = [0.0]
    came_s: dict[str, float] = {}

    async def converse() -> None:
        session = EndlessEngine(FlawedEngine(lambda _: Late), FAST).session()
        await session.start()

        async def listen() -> None:
            async for token in session:
                if token.text:
                    came_s[token.text.strip()] = fed_s[0]

        listening = asyncio.create_task(listen())
        for number in numbers:
            await session.feed(spoken([number]))
            fed_s[0] += 0.08
            for _ in range(60):  # all tasks have their turn: there is no clock here
                await asyncio.sleep(0)
        await session.finish()
        await listening

    asyncio.run(converse())
    assert list(came_s) == counting(numbers).split()
    assert came_s[str(999 + count)] < end_s + LATE_S + SETTLED_PAST_S + 0.5, f"seed {seed}"


@pytest.mark.parametrize(("level", "share"), [(0.05, 1.0), (0.01, 0.3), (0.002, 0.3)])
def test_noise_after_a_crash_makes_nobody_deaf(level: float, share: float) -> None:
    """What comes after the last word is no word for longer than audio may wait unheard."""
    before, after_it = [*range(1000, 1100)], [*range(2000, 2100)]
    noise = np.random.default_rng(0).normal(0, level, (750, FRAME_SAMPLES)).astype(np.float32)
    noise[np.random.default_rng(1).random(750) > share] = 0
    samples = np.concatenate([spoken(before), noise.ravel(), spoken(after_it)])
    engine = FlawedEngine(lambda number: Discerning if number else after(7.9, breaks))
    tokens = asyncio.run(transcribe(EndlessEngine(engine, Timing()), samples))
    assert text_of(tokens) == counting([*before, *after_it])


def test_a_script_without_spaces_goes_on_after_a_crash() -> None:
    class Unspaced(FakeSession):
        def _hear(self, frame: Samples) -> Token:
            token = super()._hear(frame)
            return replace(token, text=token.text and chr(0x4E00 + int(token.text)))

    def flaw(number: int) -> type[FakeSession]:
        if number:
            return Unspaced
        return type("Broken", (Unspaced,), {"__aiter__": after(8.0, breaks).__aiter__})

    numbers = [*range(1000, 1600)]
    tokens = run(FlawedEngine(flaw), numbers, Timing())
    assert text_of(tokens) == "".join(chr(0x4E00 + number) for number in numbers)


def test_an_engines_own_limit_is_kept() -> None:
    class Short(FlawedEngine):
        def describe(self) -> EngineInfo:
            return replace(super().describe(), max_session_s=3.0)

    numbers = numbers_with_pauses(3, 200)
    engine = Short(lambda _: after(3.0, ends))
    endless = EndlessEngine(engine, FAST)
    assert endless.describe().max_session_s is None
    tokens = asyncio.run(transcribe(endless, spoken(numbers)))
    assert text_of(tokens) == counting(numbers)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from([breaks, ends])), min_size=0, max_size=12),
    st.integers(100, 20_000),
)
def test_whatever_breaks_the_text_is_whole(
    seed: int,
    faults: list[tuple[float, Callable[[], AsyncIterator[Token]]]],
    piece: int,
) -> None:
    numbers = numbers_with_pauses(seed, 200)

    def flaw(number: int) -> type[FakeSession]:
        is_flawed = number < 2 * len(faults) and number % 2 == 0
        return after(*faults[number // 2]) if is_flawed else FakeSession

    engine = EndlessEngine(FlawedEngine(flaw), FAST)
    tokens = asyncio.run(transcribe(engine, spoken(numbers), piece))
    assert text_of(tokens) == counting(numbers)


def test_progress_goes_on_through_silence() -> None:
    tokens = run(FlawedEngine(sound), [0] * 500)
    assert text_of(tokens) == ""
    assert tokens[-1].end_s == pytest.approx(40.0, abs=0.1)


def test_abort_ends_the_iteration_and_the_engine_session() -> None:
    async def converse() -> None:
        engine = FlawedEngine(sound)
        session: EngineSession = EndlessEngine(engine, FAST).session()
        await session.start()
        await session.feed(spoken([1000, 1001]))
        tokens = aiter(session)
        assert (await anext(tokens)).text == "1000"
        await session.abort()
        assert [token async for token in tokens] == []
        assert [token async for token in engine.sessions[0]] == []

    asyncio.run(converse())


def test_abort_right_after_start_ends_the_iteration() -> None:
    """Before the session's own task has run at all."""

    async def converse() -> None:
        session = EndlessEngine(FlawedEngine(sound), FAST).session()
        await session.start()
        await session.abort()
        async with asyncio.timeout(DEADLINE_S):
            assert [token async for token in session] == []

    asyncio.run(converse())


@pytest.mark.parametrize("method", ["feed", "finish"])
def test_an_engine_session_that_hangs_with_little_audio_is_noticed(method: str) -> None:
    async def hang(_session: FakeSession, *_samples: Samples) -> None:
        await asyncio.Event().wait()

    hanging = type("Hanging", (FakeSession,), {method: hang})
    engine = FlawedEngine(lambda number: FakeSession if number else hanging)
    numbers = [*range(1000, 1005)]
    assert text_of(run(engine, numbers, IMPATIENT)) == counting(numbers)
    assert len(engine.sessions) == 2


def test_feeding_waits_while_much_is_unheard() -> None:
    async def converse() -> None:
        engine = FlawedEngine(lambda _: after(0.0, hangs))
        session = EndlessEngine(engine, FAST).session()
        await session.start()
        fed_s = 0.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    await session.feed(spoken([0] * 100))
                    fed_s += duration_s(100 * FRAME_SAMPLES)
        assert fed_s < 60
        await session.abort()

    asyncio.run(converse())


@pytest.mark.parametrize("seed", range(24))
def test_no_word_is_lost_where_a_successor_begins_at_the_end_of_a_word(seed: int) -> None:
    """The shortest overlap: then a word may end where the next session begins, but for rounding."""
    rng = random.Random(seed)
    numbers = [rng.choice([rng.randrange(1, 9000)] * 3 + [0]) for _ in range(400)]
    short = Timing(target_s=2, limit_s=2, idle_s=3, pause_s=0.3, overlap_s=0.5)

    async def hear() -> str:
        session = EndlessEngine(FakeEngine(), short).session()
        await session.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed(session))
            text = "".join([token.text async for token in session])
        await session.abort()
        return text

    async def feed(session: EndlessSession) -> None:
        for block in np.split(spoken(numbers), range(1280, 400 * 1280, 1280)):
            await session.feed(block)
        await session.finish()

    said = [str(number) for number in numbers if number]
    assert asyncio.run(hear()).split() == said, f"seed {seed}"
