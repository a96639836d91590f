"""The contract between the gateway and whatever turns sound into text.

An engine is loaded once and does not change afterwards. Each utterance gets an engine session
of its own: `start`, `feed` as often as there is audio, `finish`; meanwhile another task
iterates over it and receives tokens until the last one. Tokens are append-only: what was
emitted is never taken back.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from lanscribe.speech.audio import Samples
from lanscribe.speech.detection import SpeechDetector


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text to append, with its place in the audio.

    text: what to append, its leading space included; "" tells progress only.
    end_s: seconds from the first sample fed. Of a word, where it ended; of a token without
    text, how far the engine has listened.
    start_s: of text, where it began; None when the engine cannot tell, and for no text.
    is_lost: the audio from start_s to end_s was passed over and not transcribed; text is "".
    settled_s: of a token without text, how far the text is complete: no word that ends before it
    will come any more. An engine listens further than it has written. None: as far as end_s.
    """

    text: str
    end_s: float
    start_s: float | None = None
    is_lost: bool = False
    settled_s: float | None = None

    def later(self, by_s: float) -> "Token":
        """The token in audio that has so much before it."""
        start_s = None if self.start_s is None else self.start_s + by_s
        settled_s = None if self.settled_s is None else self.settled_s + by_s
        return replace(self, end_s=self.end_s + by_s, start_s=start_s, settled_s=settled_s)

    def settled_by(self, most_s: float) -> "Token":
        """The token, its text complete no further than `most_s`."""
        return replace(self, settled_s=min(self.known_s, most_s))

    @property
    def begin_s(self) -> float:
        """Where its text began, as far as the engine can tell."""
        return self.end_s if self.start_s is None else self.start_s

    @property
    def known_s(self) -> float:
        """How far the text is complete once this token has come."""
        return self.end_s if self.settled_s is None else self.settled_s

    def after(self, said_s: float) -> "Token":
        """The token, no part of it before `said_s`, where the last word ended."""
        end_s = max(self.end_s, said_s)
        start_s = None if self.start_s is None else min(max(self.start_s, said_s), end_s)
        return replace(self, end_s=end_s, start_s=start_s)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself."""

    name: str
    """The engine's name, a key of `lanscribe.engines.ENGINES`."""
    model: str
    """The model's name as clients ask for it."""
    languages: tuple[str, ...]
    """BCP 47 codes of the languages it understands."""
    word_times: bool
    """Whether the times of a word are measured in the sound, rather than estimated."""
    max_session_s: float | None
    """The longest audio that one engine session takes; None when there is no limit."""
    capacity: int
    """How many sessions it holds in real time on this machine."""
    delay_s: float = 1.0
    """About how far its text is behind the voice."""
    may_go_deaf: bool = False
    """Whether a session of it may live on and write nothing over speech."""


class EngineSession(ABC):
    """One utterance in work. One task feeds it, one task iterates over it."""

    @abstractmethod
    async def start(self) -> None:
        """Take up work. Raises EngineError when the engine cannot."""

    @abstractmethod
    async def feed(self, samples: Samples) -> None:
        """Hand over audio, shape (n,), 16 kHz; waits while the engine has enough of it."""

    @abstractmethod
    async def finish(self) -> None:
        """Say that no more audio comes; the iteration ends after the last token.

        The last token, with or without text, ends where the audio does: an iteration that ends
        short of that has broken off.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Stop at once and free everything; the iteration ends. Safe to call at any time."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Token]:
        """The tokens, in order. Raises EngineError when the engine breaks."""


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
        """What tells speech from other sounds in the audio that it takes."""

    @abstractmethod
    async def close(self) -> None:
        """Free the model and end the worker threads. Sessions still open are aborted."""
