"""The contract between the gateway and whatever turns sound into text.

An engine is loaded once and does not change afterwards. Each utterance gets an engine session
of its own: `start`, `feed` as often as there is audio, `finish`; meanwhile another task
iterates over it and receives tokens until the last one. Tokens are append-only: emitted text
is never changed.

An engine may also tell the words that it has heard and that may still change, in
`Token.tentative`. When these alone have changed, a token with `is_tentative` tells them, at most
one for each time the engine looks at the sound. The last token tells none.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lanscribe.errors import EngineError
from lanscribe.speech.audio import Samples
from lanscribe.speech.detection import SpeechDetector
from lanscribe.speech.transcript import Token
from lanscribe.tasks import leaves, task_group


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The facts that an engine states about itself."""

    name: str
    """The engine's name, a key of `lanscribe.engines.ENGINES`."""
    model: str
    """The model's name, as clients request it."""
    languages: tuple[str, ...]
    """BCP 47 codes of the languages it understands."""
    word_times: bool
    """Whether word times are measured in the sound, rather than estimated."""
    max_session_s: float | None
    """The longest audio that one engine session takes; None if there is no limit."""
    capacity: int
    """How many sessions it holds in real time on this machine."""
    delay_s: float = 1.0
    """Roughly how far its text is behind the voice."""
    may_go_deaf: bool = False
    """Whether its session may stay alive but write nothing over speech."""


class EngineSession(ABC):
    """One utterance in progress. One task feeds it, another iterates over it."""

    @abstractmethod
    async def start(self) -> None:
        """Start work. Raises EngineError if the engine cannot."""

    @abstractmethod
    async def feed(self, samples: Samples) -> None:
        """Hand over audio, shape (n,), 16 kHz; waits while the engine has enough of it."""

    @abstractmethod
    async def finish(self) -> None:
        """Say that no more audio comes; the iteration ends after the last token.

        The last token, with or without text, ends where the audio ends: an iteration that stops
        before that has broken off.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Stop at once and free everything; the iteration ends. Safe to call at any time."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Token]:
        """The tokens, in order. Raises EngineError when the engine fails."""


class Engine(ABC):
    """A loaded engine."""

    @abstractmethod
    def describe(self) -> EngineInfo:
        """Its name, model, languages and capacity."""

    @abstractmethod
    def session(self) -> EngineSession:
        """A new engine session, not yet started."""

    @abstractmethod
    def detector(self) -> SpeechDetector:
        """The detector that tells speech from other sounds in its audio."""

    @abstractmethod
    async def close(self) -> None:
        """Free the model and end the worker threads. Sessions still open are aborted."""


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[tuple[EngineSession, asyncio.TaskGroup]]:
    """A started engine session, and a group for the tasks that feed and watch it.

    It is aborted at the end, whatever happens. When several tasks fail, one error is raised: an
    error that is not the engine's, if any, because the caller raised it; else the first.
    """
    session = engine.session()
    try:
        async with task_group() as tasks:
            await session.start()
            yield session, tasks
    except BaseExceptionGroup as group:
        found = list(leaves(group))
        others = (error for error in found if not isinstance(error, EngineError))
        raise next(others, found[0]) from group
    finally:
        await session.abort()
