"""Silence costs no engine session, and takes nothing from the words around it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.endless import session as endless
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.fake import FRAME_SAMPLES, FakeSession, spoken
from lanscribe.errors import EngineUnavailable
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.transcript import Token
from tests.engines.driving import text_of
from tests.flawed import (
    FAST,
    Away,
    Discerning,
    FlawedEngine,
    after,
    breaks,
    ends,
    numbers_with_pauses,
    run,
    sound,
    transcribe,
)
from tests.support import counting

IDLE_S = 3.0
FRAME_S = 0.08
PATIENT = replace(FAST, target_s=60, limit_s=90, idle_s=IDLE_S)
WORDS = [*range(1000, 1050)]


class Open(Discerning):
    """Counts how many of its kind are at work."""

    count = 0

    async def start(self) -> None:
        Open.count += 1

    async def abort(self) -> None:
        if not self._is_aborted:
            Open.count -= 1
        await super().abort()


def silence(seconds: float) -> list[int]:
    return [0] * round(seconds / FRAME_S)


def test_a_long_silence_lets_the_engine_go_and_the_next_word_takes_it_up() -> None:
    engine = FlawedEngine(sound)
    numbers = [*WORDS, *silence(60), *WORDS]
    tokens = run(engine, numbers, PATIENT)
    assert text_of(tokens) == counting(numbers)
    assert len(engine.sessions) == 2
    heard_s = [one._heard_samples / 16_000 for one in engine.sessions]
    assert heard_s[0] < len(WORDS) * FRAME_S + IDLE_S + 0.4
    assert heard_s[1] < len(WORDS) * FRAME_S + PATIENT.pre_roll_s + 0.5


def test_while_idle_each_feed_is_answered_with_how_far_was_listened() -> None:
    async def converse() -> None:
        Open.count = 0
        session = EndlessEngine(FlawedEngine(lambda _: Open), PATIENT).session()
        await session.start()
        tokens = aiter(session)
        fed_s = 0.0
        for number in [*WORDS, *silence(10)]:
            await session.feed(spoken([number]))
            fed_s += FRAME_S
            async with asyncio.timeout(10):
                while (token := await anext(tokens)).end_s <= fed_s - FRAME_S:
                    pass
        assert token.text == ""
        assert Open.count == 0
        await session.finish()
        rest = [token async for token in tokens]
        assert [token.text for token in rest] in ([], [""])
        assert [token, *rest][-1].end_s == pytest.approx(fed_s)
        assert Open.count == 0
        await session.abort()

    asyncio.run(converse())


@pytest.mark.parametrize("offset", [0, 1, 700, 1279])
@pytest.mark.parametrize("piece", [160, 1280, 100_000])
def test_the_last_token_of_an_idle_session_is_at_the_end_of_the_audio(
    offset: int, piece: int
) -> None:
    samples = np.concatenate([spoken([*WORDS, *silence(10)]), np.zeros(offset, np.float32)])
    engine = FlawedEngine(sound)
    tokens = asyncio.run(transcribe(EndlessEngine(engine, PATIENT), samples, piece))
    assert text_of(tokens) == counting(WORDS)
    assert tokens[-1].end_s == pytest.approx(duration_s(len(samples)), abs=1e-6)
    assert len(engine.sessions) == 1


@pytest.mark.parametrize("words", [1, 2])
def test_a_word_that_ends_the_audio_is_heard(words: int) -> None:
    numbers = [*WORDS, *silence(10), *WORDS[:words]]
    assert text_of(run(FlawedEngine(sound), numbers, PATIENT)) == counting(numbers)


@pytest.mark.parametrize("seed", range(20))
def test_who_sends_nothing_for_a_while_holds_no_engine_session_and_loses_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the sending stops in a pause, in speech or at the end; the session stays."""
    monkeypatch.setattr(endless, "STARVED_S", 0.05)
    random = np.random.default_rng(seed)
    numbers = numbers_with_pauses(seed, 120)
    samples = spoken(numbers)
    places = np.sort(random.integers(1, len(samples), 3)).tolist()

    async def converse() -> list[Token]:
        Open.count = 0
        session = EndlessEngine(FlawedEngine(lambda _: Open), PATIENT).session()
        await session.start()
        tokens: list[Token] = []

        async def listen() -> None:
            async for token in session:
                tokens.append(token)  # noqa: PERF401  as they come

        listening = asyncio.create_task(listen())
        for start, stop in itertools.pairwise([0, *places, len(samples)]):
            await session.feed(samples[start:stop])
            async with asyncio.timeout(10):
                while Open.count or not tokens or tokens[-1].end_s < duration_s(stop) - 0.01:
                    await asyncio.sleep(0.005)
        await session.finish()
        async with asyncio.timeout(10):
            await listening
        return tokens

    tokens = asyncio.run(converse())
    assert text_of(tokens) == counting(numbers), f"seed {seed}, stops at {places}"
    assert tokens[-1].end_s == pytest.approx(duration_s(len(samples)))


def test_steady_noise_is_silence_and_speech_in_it_is_not() -> None:
    noise = np.random.default_rng(1).normal(0, 0.003, sample_count(90)).astype(np.float32)
    said = spoken(WORDS)  # 20 dB above
    first = sample_count(750 * FRAME_S)
    noise[first : first + len(said)] = said
    engine = FlawedEngine(lambda _: Discerning)
    tokens = asyncio.run(transcribe(EndlessEngine(engine, PATIENT), noise))
    assert text_of(tokens) == counting(WORDS)
    assert 60 - PATIENT.pre_roll_s - 0.4 < second_start_s(tokens) < 60.1
    assert len(engine.sessions) == 2


def second_start_s(tokens: Sequence[Token]) -> float:
    """Where the second engine session began: where the times of tokens go back."""
    ends_s = [token.end_s for token in tokens]
    return next(two for one, two in itertools.pairwise(ends_s) if two < one)


class Chattering(FakeSession):
    """Says a word each second, whatever there is to hear."""

    async def __aiter__(self) -> AsyncIterator[Token]:
        seconds = 0
        async for token in FakeSession.__aiter__(self):
            is_due = token.end_s >= seconds + 1
            seconds += is_due
            yield Token(" word" if is_due else "", token.end_s)


def test_an_engine_that_finds_words_in_silence_is_not_let_go() -> None:
    engine = FlawedEngine(lambda _: Chattering)
    tokens = run(engine, silence(50), PATIENT)
    assert len(engine.sessions) == 1
    assert len(text_of(tokens).split()) == 50


def test_progress_reaches_the_end_when_the_last_session_only_hears_again() -> None:
    numbers = [*range(1000, 1086), *silence(0.4)]
    quick = replace(FAST, limit_s=8)
    tokens = run(FlawedEngine(sound), numbers, quick)
    assert tokens[-1].end_s == pytest.approx(len(numbers) * FRAME_S)


def test_no_pre_roll_reaches_back_to_words() -> None:
    far = replace(PATIENT, pre_roll_s=10.0)
    numbers = [*WORDS, *silence(4), *WORDS]
    assert text_of(run(FlawedEngine(sound), numbers, far)) == counting(numbers)


def test_an_engine_that_is_away_at_the_next_word_is_waited_for() -> None:
    numbers = [*WORDS, *silence(10), *WORDS]
    engine = FlawedEngine(lambda number: Away if number == 1 else FakeSession)
    assert text_of(run(engine, numbers, PATIENT)) == counting(numbers)


def test_an_engine_that_breaks_after_silence_is_not_taken_back_before_it() -> None:
    numbers = [*WORDS, *silence(30), *WORDS]
    engine = FlawedEngine(lambda number: after(0.5, breaks) if number == 1 else FakeSession)
    assert text_of(run(engine, numbers, PATIENT)) == counting(numbers)
    assert engine.sessions[2]._heard_samples < sample_count(len(WORDS) * FRAME_S + 2)


def test_the_end_of_patience_says_what_was_heard() -> None:
    rollover = replace(PATIENT, retry_s=0.0)
    engine = FlawedEngine(lambda number: Away if number else after(2.0, breaks))
    with pytest.raises(EngineUnavailable, match=r"restarting; heard up to 2\.0 s of the \d+\.\d s"):
        run(engine, [*WORDS, *WORDS], rollover)


LEVELS = st.sampled_from([0.0, 0.0, 0.0005, 0.01, 0.05])
"""Of what is between words: silence, or noise that is faint, a sound, or as loud as speech."""
STRETCHES = st.one_of(
    st.tuples(st.none(), st.integers(1, 60)),  # words
    st.tuples(LEVELS, st.integers(1, 60)),  # pauses, and longer than idle_s
    st.tuples(LEVELS, st.integers(300, 450)),  # longer than an engine session
)


@st.composite
def utterances(draw: st.DrawFn) -> tuple[Samples, int]:
    """Words that count up, silence and clatter of all lengths between them; how many words."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    sounds, said = [], 0
    for level, length in draw(st.lists(STRETCHES, min_size=1, max_size=8)):
        if level is None:
            sounds.append(spoken(range(1000 + said, 1000 + said + length)))
            said += length
        else:
            noise = rng.normal(0, level, (length, FRAME_SAMPLES)).astype(np.float32)
            noise[rng.random(length) > 0.4] = 0
            sounds.append(noise.ravel())
    return np.concatenate(sounds), said


@settings(max_examples=60, deadline=None)
@given(
    utterance=utterances(),
    faults=st.lists(st.tuples(st.floats(0, 5), st.sampled_from([breaks, ends, None])), max_size=6),
    piece=st.integers(100, 40_000),
)
def test_whatever_comes_no_word_is_lost_doubled_or_out_of_order(
    utterance: tuple[Samples, int], faults: list[tuple[float, object]], piece: int
) -> None:
    samples, said = utterance

    def flaw(number: int) -> type[FakeSession]:
        if number % 2 or number >= 2 * len(faults):
            return Open
        seconds, fault = faults[number // 2]
        return Away if fault is None else after(seconds, fault)  # type: ignore[arg-type]

    Open.count = 0
    quick = replace(FAST, target_s=6, limit_s=8, idle_s=IDLE_S)
    tokens = asyncio.run(transcribe(EndlessEngine(FlawedEngine(flaw), quick), samples, piece))
    assert text_of(tokens) == counting([*range(1000, 1000 + said)])
    words = [token for token in tokens if token.text]
    audio_s = duration_s(len(samples))
    assert all(0 <= (word.start_s or 0) <= word.end_s <= audio_s + 1e-6 for word in words)
    assert all(
        one.end_s <= (two.start_s or two.end_s) + 1e-6 for one, two in itertools.pairwise(words)
    )
    assert tokens[-1].end_s == pytest.approx(audio_s)
    assert Open.count == 0
