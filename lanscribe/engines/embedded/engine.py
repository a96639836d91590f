"""The embedded engine: Moonshine in this process, on the CPU.

This is the asyncio side: bounded input, bounded output, and a task for each session that hands
one job at a time to the worker threads. recognizer.py has the work of a job.
"""

import asyncio
import logging
import os
import time
import wave
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.deadlines import DueTime
from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.vad import VoiceDetector, load_detector
from lanscribe.engines.embedded.workers import WorkerPool
from lanscribe.errors import EngineFailed
from lanscribe.speech.audio import (
    Samples,
    duration_s,
    sample_count,
)
from lanscribe.speech.detection import BLOCK_SAMPLES, SpeechDetector
from lanscribe.speech.pcm import decoded
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Changes

MAX_WAITING_S = 3.0
"""feed() waits while this much audio is unprocessed. A job takes up to a second of it, and the rest
is how late the session is: more than _BEHIND_S, so a late session always has a backlog."""
MAX_WAITING_TOKENS = 256
"""A session stops working when this many of its tokens are not taken."""
_JOB_S = 0.1
"""The least audio worth a job while more is coming; a job takes at most a second of it."""
_BEHIND_S = 1.0
"""With more audio than this waiting, a session makes no hypotheses about open segments."""
_MEASURED_S = 5.0
"""How long a speaker talks without a pause when the capacity is measured."""
_SPEECH = 0.5
"""A block of the sample above this probability is speech."""
_LOAD = 0.5
"""The part of the threads' time that may be planned: sentences of 10 s cost a quarter more than
the 5 s measured, and beyond 0.8 the words come late (docs/benchmarks.md)."""

_log = logging.getLogger(__name__)


class EmbeddedEngine(Engine):
    """The loaded model, its worker threads and the running sessions."""

    def __init__(
        self, model_name: str, model: Moonshine, detector: VoiceDetector, pool: WorkerPool
    ) -> None:
        self._model_name = model_name
        self._model = model
        self._detector = detector
        self._pool = pool
        self._capacity = 1
        self._sessions: set[EmbeddedSession] = set()

    @classmethod
    def load(
        cls,
        settings: EngineSettings,
        models_dir: Path = model_store.MODELS_DIR,
        *,
        threads: int | None = None,
    ) -> Self:
        """Load, warm up and measure, about 2 s. Raises EngineUnavailable.

        threads: workers for speakers, one per core by default; files have as many more.
        """
        detector = load_detector(settings, models_dir)
        folder = model_store.model_dir(settings.model, models_dir)
        pool = WorkerPool(threads or usable_cores())
        engine = cls(settings.model, Moonshine(folder), detector, pool)

        def held() -> int:
            sample = read_wave(model_store.sample_path(models_dir))
            return engine._measured_capacity(engine._without_pauses(sample))

        engine._capacity = settings.capacity(held)
        return engine

    def describe(self) -> EngineInfo:
        """The engine's facts; Moonshine knows only English."""
        return EngineInfo(
            name="embedded",
            model=f"moonshine-{self._model_name}",
            languages=("en",),
            word_times=True,
            max_session_s=None,
            capacity=self._capacity,
        )

    def session(self) -> "EmbeddedSession":
        """A session that has heard nothing yet."""
        recognizer = Recognizer(self._model, self._detector)
        return EmbeddedSession(recognizer, self._pool, self._sessions)

    def detector(self) -> SpeechDetector:
        """The network that came with the model."""
        return self._detector

    async def close(self) -> None:
        """Abort the sessions and end the threads."""
        for session in list(self._sessions):
            await session.abort()
        await asyncio.to_thread(self._pool.close)

    def _measured_capacity(self, sample: Samples) -> int:
        """How many simultaneous streams of speech the threads can follow.

        The first round only warms up. The time of other processes does not count.
        """
        threads = self._pool.threads
        for part in (sample[: sample_count(1)], sample):
            jobs = [self._pool.submit(partial(self._time, part)) for _ in range(threads)]
            seconds = max(job.result() for job in jobs)
        return max(1, int(threads * _LOAD * duration_s(len(sample)) / seconds))

    def _without_pauses(self, sample: Samples) -> Samples:
        """The speech in the sample, repeated; speech without pauses costs the most."""
        probabilities = np.array(self._detector.plain_stream().probabilities(sample))
        blocks = sample[: len(probabilities) * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
        speech = blocks[probabilities > _SPEECH].reshape(-1)
        return np.resize(speech, sample_count(_MEASURED_S))

    def _time(self, sample: Samples) -> float:
        """Processor seconds to follow the sample as if it came from a microphone."""
        recognizer = Recognizer(self._model, self._detector)
        started = time.thread_time()
        step = sample_count(_JOB_S)
        for start in range(0, len(sample), step):
            recognizer.hear(sample[start : start + step])
        return time.thread_time() - started


class EmbeddedSession(EngineSession):
    """One utterance. Its state changes only on the event loop; the recognizer only in jobs."""

    def __init__(
        self, recognizer: Recognizer, pool: WorkerPool, sessions: set["EmbeddedSession"]
    ) -> None:
        self._recognizer: Recognizer | None = recognizer
        self._pool = pool
        self._sessions = sessions
        self._waiting = SampleRing()
        self._due = DueTime()
        self._tokens: deque[Token] = deque()
        self._changes = Changes()
        self._work: asyncio.Task[None] | None = None
        self._failure: EngineFailed | None = None
        self._is_finished = False
        self._is_over = False

    async def start(self) -> None:
        """Begin to work."""
        if self._work or self._is_over:
            raise RuntimeError("start() on a started session")
        self._sessions.add(self)
        self._work = asyncio.create_task(self._run())

    async def feed(self, samples: Samples) -> None:
        """Take audio, shape (n,), of any length; waits while 3 s are unprocessed.

        Raises RuntimeError before `start` and after `finish`.
        """
        if self._is_finished or not (self._work or self._is_over):
            raise RuntimeError("feed() before start() or after finish()")
        limit = sample_count(MAX_WAITING_S)
        while len(samples) and not self._is_over:
            await self._changes.until(lambda: len(self._waiting) < limit or self._is_over)
            room = limit - len(self._waiting)
            if not len(self._waiting):
                self._due.arrive(time.monotonic())
            self._waiting.append(samples[:room])
            samples = samples[room:]
            self._changes.tell()

    async def finish(self) -> None:
        """Take no more audio; the iteration ends after the last token."""
        if not len(self._waiting):
            self._due.arrive(time.monotonic())
        self._is_finished = True
        self._changes.tell()

    async def abort(self) -> None:
        """End the iteration now; a running job ends by itself, within half a second."""
        self._end()  # the wait may be cancelled, and the work may not have begun
        self._tokens.clear()
        if self._work:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def __aiter__(self) -> AsyncIterator[Token]:
        """Tokens as they come. Raises EngineFailed if the model failed."""
        while True:
            await self._changes.until(lambda: bool(self._tokens) or self._is_over)
            if not self._tokens:
                break
            token = self._tokens.popleft()
            self._changes.tell()
            yield token
        if self._failure:
            raise self._failure

    async def _run(self) -> None:
        """Run job after job, until there is no more audio or the model fails."""
        try:
            while (block := await self._next_block()) is not None:
                await self._do(
                    partial(self._hear, block, len(self._waiting)), duration_s(len(block))
                )
            await self._do(self._last_words, 0.0)
        except Exception:  # noqa: BLE001  the border to the threads: it ends this session only
            _log.exception("the embedded engine failed")
            self._failure = EngineFailed("the embedded engine failed; the server's log says why")
        finally:
            self._end()

    async def _next_block(self) -> Samples | None:
        """Up to a second of audio; None if no more comes."""
        least = sample_count(_JOB_S)
        await self._changes.until(
            lambda: (
                (len(self._waiting) >= least or self._is_finished)
                and len(self._tokens) < MAX_WAITING_TOKENS
            )
        )
        if not len(self._waiting):
            return None
        block = self._waiting.take()
        self._changes.tell()
        return block

    async def _do(self, job: Callable[[], list[Token]], seconds: float) -> None:
        """Run a job that hears this many seconds, when it is due."""
        due = self._due.take(seconds, duration_s(len(self._waiting)), time.monotonic())
        tokens = await asyncio.wrap_future(self._pool.submit(job, due))
        if tokens:
            if self._tokens and self._tokens[-1].is_tentative:
                self._tokens.pop()  # the next token tells them anew
            self._tokens.extend(tokens)
            self._changes.tell()

    def _hear(self, block: Samples, waiting_samples: int) -> list[Token]:
        recognizer = self._recognizer
        assert recognizer
        return recognizer.hear(block, is_behind=waiting_samples > sample_count(_BEHIND_S))

    def _last_words(self) -> list[Token]:
        assert self._recognizer
        return self._recognizer.finish()

    def _end(self) -> None:
        """Free what the session holds, and wake its waiters."""
        self._sessions.discard(self)
        self._recognizer = None
        self._waiting = SampleRing()
        self._is_over = True
        self._changes.tell()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_wave(path: Path) -> Samples:
    """The 16 kHz mono sample that comes with the model."""
    with wave.open(str(path)) as file:
        return decoded(file.readframes(file.getnframes()), "pcm_s16le")
