"""An engine that reads numbers out of the sound, for tests and for measuring the gateway.

Every 80 ms frame of audio holds one level; a frame of level n/32768 is heard as the word "n",
a silent frame as nothing. So a transcript shows exactly which frames arrived, and in what
order: a lost, doubled or swapped frame is a lost, doubled or swapped word.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Self

import numpy as np

from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import LevelDetector, SpeechDetector
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Changes

FRAME_SAMPLES = sample_count(0.08)
_LEVEL = np.float32(1 / 32_768)
_MAX_WAITING_SAMPLES = sample_count(1)
_UNMEASURED_CAPACITY = 64


def spoken(numbers: Sequence[int]) -> Samples:
    """Audio, shape (len(numbers) * 1280,), that the fake engine hears as `numbers`; 0 is silent."""
    levels = np.asarray(numbers, dtype=np.float32) * _LEVEL
    return np.repeat(levels, FRAME_SAMPLES)


class FakeEngine(Engine):
    """Hears numbers, at almost no cost and without a limit."""

    def __init__(self, capacity: int = _UNMEASURED_CAPACITY) -> None:
        self._capacity = capacity

    @classmethod
    def load(cls, settings: EngineSettings) -> Self:
        """Nothing to load; `settings.sessions` sets the capacity."""
        return cls(settings.capacity(lambda: _UNMEASURED_CAPACITY))

    def describe(self) -> EngineInfo:
        """The fake's facts."""
        return EngineInfo(
            name="fake",
            model="fake-numbers",
            languages=("en",),
            word_times=True,
            max_session_s=None,
            capacity=self._capacity,
            delay_s=duration_s(FRAME_SAMPLES),
        )

    def session(self) -> "FakeSession":
        """A session that hears numbers."""
        return FakeSession()

    def detector(self) -> SpeechDetector:
        """A detector by level, since numbers are levels."""
        return LevelDetector()

    async def close(self) -> None:
        """Nothing to free."""


class FakeSession(EngineSession):
    """One utterance of spoken numbers."""

    def __init__(self) -> None:
        self._waiting = SampleRing()
        self._frame: Samples = np.empty(0, dtype=np.float32)
        self._heard_samples = 0
        self._is_first_word = True
        self._is_finished = False
        self._is_aborted = False
        self._changes = Changes()

    async def start(self) -> None:
        """Ready at once."""

    async def feed(self, samples: Samples) -> None:
        """Take audio, shape (n,); waits while one second is unheard.

        Raises RuntimeError after `finish`.
        """
        if self._is_finished:
            raise RuntimeError("feed() after finish()")
        await self._changes.until(
            lambda: len(self._waiting) < _MAX_WAITING_SAMPLES or self._is_aborted
        )
        self._waiting.append(samples)
        self._changes.tell()

    async def finish(self) -> None:
        """Take no more audio; a partial frame at the end counts as a whole one."""
        self._is_finished = True
        self._changes.tell()

    async def abort(self) -> None:
        """End the iteration at once."""
        self._is_aborted = True
        self._waiting = SampleRing()
        self._changes.tell()

    async def __aiter__(self) -> AsyncIterator[Token]:
        """One token for each whole frame."""
        while (block := await self._next_block()) is not None:
            self._frame = np.concatenate([self._frame, block])
            while len(self._frame) >= FRAME_SAMPLES and not self._is_aborted:
                frame, self._frame = self._frame[:FRAME_SAMPLES], self._frame[FRAME_SAMPLES:]
                yield self._hear(frame)
        if len(self._frame) and not self._is_aborted:
            yield self._hear(self._frame)

    async def _next_block(self) -> Samples | None:
        await self._changes.until(
            lambda: len(self._waiting) > 0 or self._is_finished or self._is_aborted
        )
        if self._is_aborted or not len(self._waiting):
            return None
        block = self._waiting.take()
        self._changes.tell()
        return block

    def _hear(self, frame: Samples) -> Token:
        start_s = duration_s(self._heard_samples)
        self._heard_samples += len(frame)
        end_s = duration_s(self._heard_samples)
        number = round(float(frame[0] / _LEVEL))
        if number == 0:
            return Token("", end_s)
        text = str(number) if self._is_first_word else f" {number}"
        self._is_first_word = False
        return Token(text, end_s, start_s=start_s)
