"""The engine that talks to vLLM, against a server that speaks vLLM's protocol and breaks it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from lanscribe.config import EngineSettings
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines import chosen, load_engine
from lanscribe.engines.base import Engine
from lanscribe.engines.fake import spoken
from lanscribe.engines.vllm import VllmEngine, VllmServer, VllmSession
from lanscribe.errors import EngineError, EngineFailed, EngineUnavailable
from lanscribe.speech.audio import sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.engines.driving import DEADLINE_S, drain, hear, text_of
from tests.engines.standin_realtime import DELAY_STEPS, KEY, MODEL, Fault, Standin, standin
from tests.vllm.real.server import free_port

NUMBERS = list(range(1, 100))
SPEECH = spoken(NUMBERS)
STEP_S = 0.08


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin() as one:
        yield one


def settings(server: Standin) -> VllmServer:
    return VllmServer(server.url, MODEL, max_model_len=3840, max_num_seqs=4, api_key=KEY)


@pytest.fixture
def engine(server: Standin) -> Engine:
    return VllmEngine(settings(server), LevelDetector())


def test_a_words_time_is_where_it_was_spoken(engine: Engine) -> None:
    tokens = hear(engine, spoken([0, 0, 7, 0, 0, 0, 8, 9]))
    words = [
        (token.text, round(token.start_s or 0, 3), round(token.end_s, 3))
        for token in tokens
        if token.text
    ]
    assert words == [("7", 0.16, 0.24), (" 8", 0.48, 0.56), (" 9", 0.56, 0.64)]


def test_a_token_without_text_tells_how_far_vllm_has_listened(engine: Engine) -> None:
    tokens = hear(engine, spoken([0] * 20))
    listened = [round(token.end_s / STEP_S) for token in tokens]
    assert listened == [*range(1 + DELAY_STEPS, 20), *[20] * (len(tokens) - 13)]


def test_vllms_own_count_is_kept(engine: Engine) -> None:
    async def scenario() -> None:
        session = engine.session()
        assert isinstance(session, VllmSession)
        await session.start()
        listening = asyncio.create_task(drain(session))
        await session.feed(SPEECH)
        await session.finish()
        tokens = await listening
        assert session.usage["completion_tokens"] == len(tokens) == len(NUMBERS) + 10

    asyncio.run(scenario())


def test_it_describes_vllm(server: Standin) -> None:
    info = VllmEngine(settings(server), LevelDetector()).describe()
    assert (info.name, info.model, info.capacity) == ("vllm", MODEL, 4)
    assert info.max_session_s == pytest.approx((3840 - 75) * STEP_S)
    assert not info.word_times
    assert len(info.languages) == 13


def test_the_settings_overrule_vllms_capacity(server: Standin) -> None:
    wanted = EngineSettings(name="vllm", sessions=2)
    assert load_engine(wanted, server=settings(server)).describe().capacity == 2
    unknown = replace(settings(server), max_num_seqs=0)
    assert VllmEngine(unknown, LevelDetector()).describe().capacity == 4


def test_auto_takes_vllm_where_it_is() -> None:
    assert chosen("auto", has_vllm=True) == "vllm"
    assert chosen("auto", has_vllm=False) == "embedded"
    assert chosen("fake", has_vllm=True) == "fake"


async def broken(engine: Engine) -> tuple[list[Token], Exception | None]:
    """Feed until the iteration ends, which it must by itself; the tokens, and what was raised."""
    session = engine.session()
    tokens: list[Token] = []
    failure: Exception | None = None

    async def feed() -> None:
        for _ in range(100):
            await session.feed(SPEECH)

    async with asyncio.timeout(DEADLINE_S):
        await session.start()
        feeding = asyncio.create_task(feed())
        try:
            async for token in session:
                tokens.append(token)  # noqa: PERF401  what came before an error counts
        except EngineError as error:
            failure = error
        await asyncio.wait([feeding])
        assert feeding.exception() is None or isinstance(feeding.exception(), EngineFailed)
        await session.abort()
    return tokens, failure


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "vLLM ended in the middle of the utterance"),
        ("error", "CUDA went away (processing_error)"),
        ("nonsense", "outside vLLM's protocol"),
        ("deep", "outside vLLM's protocol"),
    ],
)
def test_a_fault_is_told_and_holds_nobody(
    server: Standin, engine: Engine, fault: Fault, words: str
) -> None:
    server.fault = fault
    tokens, failure = asyncio.run(broken(engine))
    text = text_of(tokens)  # a cut may lose what is on its way
    assert text == "1 2 3 4 5" or (fault == "cut" and "1 2 3 4 5".startswith(text))
    assert words in str(failure)


def test_a_vllm_whose_engine_is_dead_is_away_until_it_is_started_again(
    server: Standin, engine: Engine
) -> None:
    server.fault = "dead"
    _, failure = asyncio.run(broken(engine))
    assert isinstance(failure, EngineUnavailable)


def test_an_end_that_nobody_asked_for_ends_the_iteration(server: Standin, engine: Engine) -> None:
    """So vLLM does at max_model_len."""
    server.fault = "done"
    tokens, failure = asyncio.run(broken(engine))
    assert failure is None
    assert text_of(tokens) == "1 2 3 4 5"


def test_another_model_is_told(server: Standin) -> None:
    engine = VllmEngine(replace(settings(server), model="other"), LevelDetector())
    _, failure = asyncio.run(broken(engine))
    assert "serves another model" in str(failure)


def refusal(server: VllmServer) -> str:
    """Why a session does not start."""

    async def scenario() -> str:
        session = VllmEngine(server, LevelDetector()).session()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(EngineUnavailable) as caught:
                await session.start()
            await session.abort()
        return caught.value.public_message

    return asyncio.run(scenario())


def test_a_wrong_key_is_told(server: Standin) -> None:
    assert "refuses the key (HTTP 401)" in refusal(replace(settings(server), api_key="wrong"))


def test_a_vllm_that_is_away_is_told(server: Standin) -> None:
    away = replace(settings(server), url=f"http://127.0.0.1:{free_port()}")
    assert f"{away.url}: " in refusal(away)


def test_the_reason_is_the_supervisors_where_it_has_one(server: Standin) -> None:
    away = replace(settings(server), url=f"http://127.0.0.1:{free_port()}")
    known = replace(away, why_down=lambda: "loading the weights, 40 %")
    assert "vLLM does not serve now: loading the weights, 40 %" in refusal(known)


def test_a_vllm_that_never_greets_is_told(server: Standin) -> None:
    server.fault = "never greets"
    mute = replace(settings(server), connect_timeout_s=0.1)
    assert "no answer within 0.1 s" in refusal(mute)


IMPATIENT = Timing(stall_s=0.1)


def test_one_that_falls_silent_is_given_up(server: Standin, engine: Engine) -> None:
    """By the endless session, whatever the engine is: it has heard five words and owes the rest."""
    server.fault = "mute"
    tokens, failure = asyncio.run(broken(EndlessEngine(engine, IMPATIENT)))
    assert text_of(tokens).startswith("1 2 3 4 5")
    assert "has said nothing for 0.1 s" in str(failure)
    assert "hangs or is overloaded" in str(failure)


def test_silence_on_the_line_is_no_fault(server: Standin, engine: Engine) -> None:
    """Nothing is owed while the client sends nothing, however long that is."""

    async def scenario() -> None:
        session = EndlessEngine(engine, IMPATIENT).session()
        async with asyncio.timeout(DEADLINE_S):
            await session.start()
            await session.feed(spoken([1, 2]))
            listening = asyncio.create_task(drain(session))
            done, _ = await asyncio.wait([listening], timeout=0.4)
            assert not done
            await session.abort()
            assert await listening == []

    asyncio.run(scenario())


def test_abort_drops_the_connection(server: Standin, engine: Engine) -> None:
    async def scenario() -> None:
        session = engine.session()
        await session.start()
        await session.feed(SPEECH[: sample_count(4)])
        await session.abort()

    asyncio.run(scenario())
    assert server.closed.wait(DEADLINE_S)
    assert server.open_connections == 0


def test_closing_the_engine_drops_all(server: Standin, engine: Engine) -> None:
    async def scenario() -> None:
        sessions = [engine.session() for _ in range(3)]
        for session in sessions:
            await session.start()
        await engine.close()
        for session in sessions:
            assert await drain(session) == []

    asyncio.run(scenario())


def test_events_of_a_later_vllm_are_skipped_and_logged_once_each(
    server: Standin, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    server.unknown = ("session.updated", "transcription.progress")
    for _ in range(2):
        assert text_of(hear(engine, spoken([1, 2, 3]))) == "1 2 3"
    told = [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()]
    assert told == [
        f"vLLM sends events of the type '{kind}', which lanscribe does not know; they are skipped"
        for kind in server.unknown
    ]


def test_a_vllm_that_invents_types_does_not_fill_the_log(
    server: Standin, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    server.unknown = tuple(f"type.{number}" for number in range(30))
    assert text_of(hear(engine, spoken([1]))) == "1"
    assert sum("skipped" in record.getMessage() for record in caplog.records) == 20


def test_a_key_that_is_none_is_not_sent(server: Standin) -> None:
    assert "HTTP 401" in refusal(replace(settings(server), api_key=""))


def test_text_that_begins_with_spaces_does_not(server: Standin, engine: Engine) -> None:
    tokens = hear(engine, np.concatenate([np.zeros(sample_count(1), np.float32), SPEECH]))
    assert text_of(tokens).startswith("1 2 3")
