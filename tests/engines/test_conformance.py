"""What every engine must do. A new engine is one more entry in `engine_case`."""

import asyncio
import difflib
import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from lanscribe.engines.base import Engine, EngineSession
from lanscribe.engines.fake import FakeEngine, spoken
from lanscribe.engines.vllm import VllmEngine, VllmServer
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.engines.conftest import BECKETT
from tests.engines.driving import DEADLINE_S, drain, hear, listen, text_of, words_of
from tests.engines.standin_realtime import KEY, MODEL, standin
from tests.guessing import GuessingEngine, screens


@dataclass
class Case:
    """An engine, speech that it understands, and what is said there."""

    engine: Engine
    speech: Samples
    words: list[str]
    least_likeness: float
    """How alike transcripts of the same speech must be: 1 for an engine that never errs."""

    def check(self, words: list[str]) -> None:
        likeness = difflib.SequenceMatcher(None, words, self.words).ratio()
        assert likeness >= self.least_likeness, f"got {words}, expected {self.words}"


@pytest.fixture(
    params=["fake", "guessing", "vllm", pytest.param("embedded", marks=pytest.mark.slow)]
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Each engine in turn; only the one asked for is loaded."""
    numbers = [*range(1, 60), 0, 0, 0, *range(100, 150)]
    words = [str(number) for number in numbers if number]
    if request.param == "fake":
        yield Case(FakeEngine(), spoken(numbers), words, 1.0)
    elif request.param == "guessing":
        yield Case(GuessingEngine(), spoken(numbers), words, 1.0)
    elif request.param == "vllm":
        with standin() as server:
            vllm = VllmServer(server.url, MODEL, max_model_len=3840, api_key=KEY)
            yield Case(VllmEngine(vllm, LevelDetector()), spoken(numbers), words, 1.0)
    else:
        engine = request.getfixturevalue("embedded_engine")
        yield Case(engine, request.getfixturevalue("beckett"), BECKETT, 0.8)


def settling(tokens: Sequence[Token]) -> list[Token]:
    """The tokens that tell more than words that may still change."""
    return [token for token in tokens if not token.is_tentative]


SILENCE = np.zeros(sample_count(2), dtype=np.float32)


async def three_minutes(session: EngineSession) -> None:
    """Feed three minutes of silence."""
    for _ in range(180):
        await session.feed(np.zeros(sample_count(1), dtype=np.float32))


def test_it_describes_itself(case: Case) -> None:
    info = case.engine.describe()
    assert info.name
    assert info.model
    assert info.languages
    assert info.capacity >= 1


@pytest.mark.parametrize("block_s", [0.01, 0.08, 0.333, 1.0, 600.0])
def test_any_blocks_give_the_same_words(case: Case, block_s: float) -> None:
    case.check(words_of(hear(case.engine, case.speech, sample_count(block_s))))


@pytest.mark.parametrize("seed", range(3))
def test_no_word_ends_before_what_was_said_to_be_settled(case: Case, seed: int) -> None:
    """Nor does an engine say so of more than it has heard; at the end all of it is settled."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, random.choice([0, 1e-5]), len(case.speech) + len(SILENCE))
    sound = (np.concatenate([case.speech, SILENCE]) + noise).astype(np.float32)
    tokens = hear(case.engine, sound, int(random.integers(500, 20_000)))
    settled_s = 0.0
    for token in settling(tokens):
        assert not token.text or token.end_s > settled_s - 0.05, f"seed {seed}: {token}"
        assert token.text or token.known_s <= token.end_s
        settled_s = max(settled_s, token.known_s)


def test_single_samples_are_taken(case: Case) -> None:
    tokens = hear(case.engine, SILENCE[:2000], block_samples=1)
    assert text_of(tokens) == ""


def test_the_first_word_has_no_leading_space_and_the_others_one(case: Case) -> None:
    text = text_of(hear(case.engine, np.concatenate([case.speech, SILENCE, case.speech])))
    assert text == text.strip()
    assert "  " not in text
    assert len(text.split()) >= len(case.words)


def test_times_only_grow_and_end_with_the_audio(case: Case) -> None:
    tokens = hear(case.engine, case.speech)
    ends = [token.end_s for token in tokens if token.text]
    assert ends == sorted(ends)
    heard = [token.end_s for token in settling(tokens) if not token.text]
    assert heard == sorted(heard)
    length_s = duration_s(len(case.speech))
    assert max(token.end_s for token in tokens) == pytest.approx(length_s, abs=0.1)
    assert ends[0] < length_s / 2


def test_words_begin_and_end_in_order_and_only_words_begin(case: Case) -> None:
    tokens = hear(case.engine, case.speech)
    assert all(token.start_s is None for token in tokens if not token.text)
    last_s = 0.0
    for token in tokens:
        if token.text:
            assert token.start_s is not None
            assert last_s <= token.start_s <= token.end_s
            last_s = token.end_s


@pytest.mark.parametrize("block_samples", [777, 16_000])
def test_words_that_may_still_change_follow_the_text(case: Case, block_samples: int) -> None:
    """With the space that they would be appended with; a token that tells them tells no other."""
    tokens = hear(case.engine, np.concatenate([case.speech, SILENCE]), block_samples)
    for screen in screens(tokens):
        assert screen == screen.strip()
        assert "  " not in screen
    assert not any(token.text or token.is_lost for token in tokens if token.is_tentative)
    assert tokens[-1].tentative == ""
    if case.engine.describe().name in ("fake", "vllm"):
        tells = isinstance(case.engine, GuessingEngine)
        assert any(token.tentative for token in tokens) == tells


def test_a_number_comes_out_at_its_frame() -> None:
    """Where the fake hears numbers is known to the sample; a start of 13 frames is 1.04 s."""
    tokens = hear(FakeEngine(), spoken([0] * 13 + [7, 0, 8]), block_samples=777)
    words = [(token.text, token.start_s, token.end_s) for token in tokens if token.text]
    assert words == [("7", pytest.approx(1.04), 1.12), (" 8", 1.2, 1.28)]


def test_silence_has_no_text_but_progress(case: Case) -> None:
    tokens = hear(case.engine, np.concatenate([SILENCE] * 5))
    assert text_of(tokens) == ""
    ends = [0.0, *(token.end_s for token in settling(tokens))]
    assert max(np.diff(ends)) <= 1.1


def test_no_audio_is_a_clean_end(case: Case) -> None:
    tokens = hear(case.engine, SILENCE[:0])
    assert text_of(tokens) == ""


def test_ending_twice_is_harmless(case: Case) -> None:
    async def scenario() -> None:
        session = case.engine.session()
        await session.start()
        await session.feed(SILENCE)
        await session.finish()
        await session.finish()
        async with asyncio.timeout(DEADLINE_S):
            assert text_of(await drain(session)) == ""
        await session.finish()
        await session.abort()
        await session.abort()
        assert await drain(session) == []

    asyncio.run(scenario())


def test_feeding_a_finished_session_is_a_programming_error(case: Case) -> None:
    async def scenario() -> None:
        session = case.engine.session()
        await session.start()
        await session.finish()
        with pytest.raises(RuntimeError, match="finish"):
            await session.feed(SILENCE)
        await session.abort()

    asyncio.run(scenario())


def test_abort_before_start_is_harmless(case: Case) -> None:
    async def scenario() -> None:
        await case.engine.session().abort()

    asyncio.run(scenario())


def test_abort_right_after_start_ends_the_iteration(case: Case) -> None:
    """Before the session's own task has run at all; also when the wait for its end is cancelled."""

    async def scenario() -> None:
        for is_cut in (False, True):
            session = case.engine.session()
            await session.start()
            aborting = asyncio.create_task(session.abort())
            await asyncio.sleep(0)
            if is_cut:
                aborting.cancel()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait([aborting])
                assert await drain(session) == []

    asyncio.run(scenario())


def test_a_fast_sender_has_to_wait(case: Case) -> None:
    """An engine takes a bounded lead over whoever reads its tokens."""
    lead_s = 60.0

    async def scenario() -> None:
        session = case.engine.session()
        await session.start()
        feeding = asyncio.create_task(three_minutes(session))
        async with asyncio.timeout(DEADLINE_S):
            async for token in session:
                if not token.is_tentative and token.end_s < 180 - lead_s:
                    assert not feeding.done()
                if feeding.done():
                    await session.finish()
        assert feeding.done()

    asyncio.run(scenario())


def test_abort_releases_a_sender_and_a_reader_who_wait(case: Case) -> None:
    async def scenario() -> None:
        session = case.engine.session()
        await session.start()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            group.create_task(three_minutes(session))
            reading = group.create_task(anext_of(session.__aiter__()))
            await reading
            await session.abort()
            assert await drain(session) == []

    async def anext_of(tokens: object) -> object:
        return await anext(tokens)  # type: ignore[call-overload]

    asyncio.run(scenario())


def test_one_who_never_reads_harms_nobody(case: Case) -> None:
    async def scenario() -> None:
        deaf = case.engine.session()
        await deaf.start()
        stuck = asyncio.create_task(three_minutes(deaf))
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            others = [group.create_task(listen(case.engine, case.speech, 1280)) for _ in range(3)]
        for other in others:
            case.check(words_of(other.result()))
        await deaf.abort()
        await stuck

    asyncio.run(scenario())


def test_an_aborted_session_leaves_nothing_behind(case: Case) -> None:
    async def scenario() -> None:
        session = case.engine.session()
        watched = weakref.ref(session)
        await session.start()
        feeding = asyncio.create_task(session.feed(case.speech))
        await asyncio.sleep(0)
        await session.abort()
        await feeding
        del session, feeding
        await asyncio.sleep(0)
        gc.collect()
        assert watched() is None

    asyncio.run(scenario())
