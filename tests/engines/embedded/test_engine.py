"""The embedded engine beyond what every engine must do."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from lanscribe import PROJECT_DIR
from lanscribe.config import EngineSettings
from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.engine import EmbeddedEngine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.errors import EngineFailed, EngineUnavailable
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.transcript import Token
from lanscribe.speech.transcript import words_of as timed_words
from tests.engines.conftest import BECKETT
from tests.engines.driving import DEADLINE_S, drain, hear, text_of, words_of


def test_it_is_english_only_and_has_measured_itself(embedded_engine: EmbeddedEngine) -> None:
    info = embedded_engine.describe()
    assert (info.name, info.model) == ("embedded", "moonshine-base-en")
    assert info.languages == ("en",)
    assert info.capacity >= 1


def test_the_settings_overrule_the_measured_capacity() -> None:
    engine = EmbeddedEngine.load(EngineSettings(sessions=3), threads=1)
    assert engine.describe().capacity == 3
    asyncio.run(engine.close())


def test_nobody_is_told_of_this_machine(tmp_path: Path) -> None:
    """ONNX Runtime, left to itself, makes a number for it in HOME and reports to Microsoft."""
    kept = {name: os.environ[name] for name in os.environ if name[:4] not in {"ORT_", "XDG_"}}
    command = [sys.executable, "-c", "import lanscribe.engines.embedded.engine"]
    environ = {**kept, "HOME": str(tmp_path)}
    subprocess.run(command, cwd=PROJECT_DIR, env=environ, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        EngineUnavailable, match=r"is not in .*; run: bash setup\.sh --model base-en"
    ):
        EmbeddedEngine.load(EngineSettings(), tmp_path)


def test_with_a_damaged_model_it_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(model_store.MODELS_DIR / "base-en", tmp_path / "base-en")
    shutil.copytree(model_store.MODELS_DIR / "samples", tmp_path / "samples")
    with (tmp_path / "base-en/step.onnx").open("r+b") as file:
        file.seek(20_000_000)
        file.write(b"\xff")
    with pytest.raises(EngineUnavailable, match=r"step\.onnx is damaged.*bash setup\.sh"):
        EmbeddedEngine.load(EngineSettings(), tmp_path)


def test_it_hears_every_word(embedded_engine: EmbeddedEngine, beckett: Samples) -> None:
    assert words_of(hear(embedded_engine, beckett)) == BECKETT


def phrases_s(detector: VoiceDetector, samples: Samples) -> list[tuple[float, float]]:
    """Where speech begins and ends, with no pause of 0.3 s in it."""
    is_speech = np.array(detector.plain_stream().probabilities(samples)) >= 0.5
    blocks = np.flatnonzero(is_speech)
    phrases = np.split(blocks, np.flatnonzero(np.diff(blocks) > 10) + 1)
    return [(float(one[0]) * 0.032, float(one[-1] + 1) * 0.032) for one in phrases]


def test_words_have_the_times_at_which_they_are_spoken(
    embedded_engine: EmbeddedEngine, detector: VoiceDetector, beckett: Samples
) -> None:
    """Every phrase there is a sentence; words around a pause are known by its edges."""
    shift_s = 3.21
    silence = np.zeros(sample_count(shift_s), dtype=np.float32)
    for lead_s, sound in ((0.0, beckett), (shift_s, np.concatenate([silence, beckett]))):
        words = timed_words(hear(embedded_engine, sound, block_samples=sample_count(0.1)))
        sentences = list(zip(words[::2], words[1::2], strict=True))
        phrases = phrases_s(detector, beckett)
        assert len(phrases) == len(sentences)
        for (start_s, end_s), (first, last) in zip(phrases, sentences, strict=True):
            assert first.start_s - lead_s == pytest.approx(start_s, abs=0.15)
            assert last.end_s - lead_s == pytest.approx(end_s, abs=0.2)
            assert first.end_s - first.start_s > 0.1
            assert last.end_s - last.start_s > 0.2


def test_words_within_a_segment_have_the_times_at_which_they_are_spoken(
    embedded_engine: EmbeddedEngine, detector: VoiceDetector, beckett: Samples
) -> None:
    """The pauses are too short to part segments, whose edges would tell the times as well."""
    pause = np.zeros(sample_count(0.4), dtype=np.float32)
    sound, phrases = [pause], []
    for start_s, end_s in phrases_s(detector, beckett):
        piece = beckett[sample_count(start_s) : sample_count(end_s)]
        begins_s = duration_s(sum(map(len, sound)))
        phrases.append((begins_s, begins_s + duration_s(len(piece))))
        sound += [piece, pause]
    words = timed_words(hear(embedded_engine, np.concatenate(sound)))
    for (start_s, end_s), first, last in zip(phrases, words[::2], words[1::2], strict=True):
        assert first.start_s == pytest.approx(start_s, abs=0.3)
        assert last.end_s == pytest.approx(end_s, abs=0.3)


def test_what_nobody_says_has_no_text(
    embedded_engine: EmbeddedEngine, not_speech: dict[str, Samples]
) -> None:
    heard = {name: text_of(hear(embedded_engine, sound)) for name, sound in not_speech.items()}
    assert heard == dict.fromkeys(not_speech, "")


def test_long_silence_before_speech_hides_nothing(
    embedded_engine: EmbeddedEngine, beckett: Samples
) -> None:
    silence = np.zeros(sample_count(60), dtype=np.float32)
    tokens = hear(embedded_engine, np.concatenate([silence, beckett]))
    assert words_of(tokens) == BECKETT
    assert all(token.end_s > 59 for token in tokens if token.text)


def test_a_long_file_keeps_all_of_its_words(
    embedded_engine: EmbeddedEngine, beckett: Samples
) -> None:
    """Two minutes at once: no pause is long enough to be lost in, no word is said twice."""
    tokens = hear(embedded_engine, np.concatenate([beckett] * 12), block_samples=10_000_000)
    assert len(words_of(tokens)) == pytest.approx(12 * len(BECKETT), abs=6)


async def spoken_live(
    engine: EmbeddedEngine, samples: Samples
) -> AsyncIterator[tuple[float, Token]]:
    """Feed 0.1 s at a time, each when the one before is heard: (seconds fed, token)."""
    session = engine.session()
    await session.start()
    tokens = aiter(session)
    step, heard_s = sample_count(0.1), 0.0
    for start in range(0, len(samples), step):
        await session.feed(samples[start : start + step])
        fed_s = duration_s(start + step)
        while fed_s - heard_s > 0.5:
            token = await anext(tokens)
            heard_s = heard_s if token.text else token.end_s
            yield fed_s, token
    await session.finish()
    async for token in tokens:
        yield duration_s(len(samples)), token


def test_words_come_while_they_are_spoken(
    embedded_engine: EmbeddedEngine, beckett: Samples
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(DEADLINE_S):
            pairs = [pair async for pair in spoken_live(embedded_engine, beckett)]
        spoken = [(fed_s, token) for fed_s, token in pairs if token.text]
        assert words_of([token for _, token in spoken]) == BECKETT
        delays = [fed_s - token.end_s for fed_s, token in spoken]
        assert np.median(delays) < 1.5
        assert spoken[0][0] < 2.5

    asyncio.run(scenario())


def test_progress_comes_in_silence_too(embedded_engine: EmbeddedEngine) -> None:
    async def scenario() -> None:
        silence = np.zeros(sample_count(10), dtype=np.float32)
        async with asyncio.timeout(DEADLINE_S):
            pairs = [pair async for pair in spoken_live(embedded_engine, silence)]
        ends = [token.end_s for _, token in pairs]
        assert max(np.diff(ends)) < 0.7  # 0.3 s, and what is fed before that is waited for

    asyncio.run(scenario())


def test_a_broken_model_fails_its_session_only(
    embedded_engine: EmbeddedEngine, beckett: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Recognizer, _samples: Samples, *, is_behind: bool) -> list[Token]:
        raise ValueError(f"bits fell over, is_behind={is_behind}")

    async def scenario() -> None:
        session = embedded_engine.session()
        await session.start()
        await session.feed(beckett)
        with pytest.raises(EngineFailed, match="the server's log says why"):
            await drain(session)
        await session.feed(beckett)  # nobody hears it, and nobody waits
        await session.finish()

    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, "hear", broken)
        asyncio.run(scenario())
    assert words_of(hear(embedded_engine, beckett)) == BECKETT


def test_abort_gives_the_memory_back(embedded_engine: EmbeddedEngine, beckett: Samples) -> None:
    async def scenario() -> None:
        session = embedded_engine.session()
        is_gone = threading.Event()
        weakref.finalize(session._recognizer, is_gone.set)
        await session.start()
        await session.feed(np.concatenate([beckett] * 2))
        assert not (await anext(aiter(session))).text
        await session.abort()
        assert await asyncio.to_thread(is_gone.wait, DEADLINE_S)  # once its last job is over

    asyncio.run(scenario())


def test_close_aborts_the_sessions_in_work(beckett: Samples) -> None:
    async def scenario() -> None:
        engine = EmbeddedEngine.load(EngineSettings(sessions=2), threads=1)
        session = engine.session()
        await session.start()
        await session.feed(beckett)
        await engine.close()
        assert await drain(session) == []

    asyncio.run(scenario())
