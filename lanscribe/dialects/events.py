"""The events that dialects and sessions share, whatever the wire protocol.

A dialect decodes messages into client events and encodes server events into messages; a
session answers client events with server events.
"""

from dataclasses import KW_ONLY, dataclass

from lanscribe.errors import LanscribeError
from lanscribe.speech.audio import Samples
from lanscribe.speech.captions import Word
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span
from lanscribe.speech.turns import TurnSettings

Message = str | bytes
"""One WebSocket message: str for a text frame, bytes for a binary one."""
MAX_LISTED_WORDS = 10_000
"""The words of an hour; with times they take about 600 KB. Many clients accept 1 MiB a message."""


@dataclass(frozen=True, slots=True, eq=False)
class AppendAudio:
    """The client sends audio, shape (n,), 16 kHz."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Commit:
    """The client starts an utterance, or with is_final ends the one it is sending.

    tag: the client's own name for the utterance, returned in every event about it.
    needs_audio: whether ending an utterance without any audio is refused.
    """

    is_final: bool
    tag: str = ""
    needs_audio: bool = False


@dataclass(frozen=True, slots=True)
class DetectTurns:
    """The client lets the server find where utterances begin and end; None revokes that."""

    settings: TurnSettings | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client cancels an utterance: the one that it named `tag`, or the open one."""

    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The client sends no more; the server finishes what runs, then closes the connection."""


@dataclass(frozen=True, slots=True)
class KeepForResume:
    """The client can resume, so its session is kept when its socket breaks."""


@dataclass(frozen=True, slots=True)
class TellTentative:
    """Whether the client wants the words that may still change, from now on."""

    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The client has the events up to the one with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The client said something that the dialect answers by itself, such as a ping, or with no
    message at all."""

    messages: tuple[Message, ...]


ClientEvent = (
    AppendAudio
    | Commit
    | DetectTurns
    | Cancel
    | Finish
    | KeepForResume
    | TellTentative
    | Acknowledge
    | Reply
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """The utterance that an event is about."""

    number: int = 1
    """1, 2, 3, ... in the order of their audio; a cancelled one keeps its number."""
    tag: str = ""
    """The client's name for it, if it gave one."""
    offset_s: float = 0.0
    """Where its audio begins in the session's audio."""


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The session exists; the first event that a client gets.

    resume_token: resumes the session after a break. keep_s: for how long after it.
    """

    session_id: str
    created_unix_s: int
    resume_token: str = ""
    keep_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """The session goes on over another socket; events that the client missed follow.

    received_samples: how much audio of the session was received, in samples.
    received_commits: how many utterances the client has ended.
    """

    session_id: str
    received_samples: int
    received_commits: int


@dataclass(frozen=True, slots=True)
class SessionStopping:
    """The server ends the open utterance, perhaps within a word. Its last text is only for display:
    a client that continues later does not keep it."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Everything the client asked for is done and the connection is about to be closed."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append to the utterance's transcript; "" reports progress only.

    end_s, start_s: seconds from the utterance's first sample; see `Token`.
    lag_s: how much audio was received and not yet heard by the engine.
    is_behind: whether the lag of a live client is too large.
    lost: audio of the utterance that was passed over and not transcribed; the text is "" then.
    is_muted: whether to tell a live client, once, that it sends nothing but zeros.
    tentative: the words after all text so far that may still change, of a client that wants them;
    each delta tells them anew.
    """

    text: str
    end_s: float
    _: KW_ONLY
    start_s: float | None = None
    lag_s: float = 0.0
    is_behind: bool = False
    of: Utterance = Utterance()
    lost: Span | None = None
    is_muted: bool = False
    tentative: str = ""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The server has begun an utterance; its first sample is at_s into the session's audio."""

    of: Utterance
    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The speaker may have finished at_s into the session's audio; resumed or stopped follows."""

    of: Utterance
    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The speaker has gone on after a pause, at_s into the session's audio."""

    of: Utterance
    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The last sample of an utterance is at_s into the session's audio; Committed follows.

    is_forced: a timeout or the client ended it, not the silence after speech.
    """

    of: Utterance
    at_s: float
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The client or the server has ended an utterance.

    previous: the number of the utterance committed before it; 0 if none.
    """

    of: Utterance
    previous: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client has cancelled an utterance; no more events about it follow."""

    of: Utterance


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance is complete."""

    text: str
    audio_s: float
    """How much audio the utterance had."""
    token_count: int
    """How many tokens with text the engine emitted."""
    words: tuple[Word, ...] = ()
    """Its words, each bare."""
    of: Utterance = Utterance()
    lost: tuple[Span, ...] = ()
    """All of the utterance's audio that was not transcribed, in order."""
    no_speech: NoSpeech | None = None
    """Why there is no text, if the user may have expected some."""

    @property
    def listed_words(self) -> tuple[Word, ...]:
        """The words for one message; none if it would be too large for many clients."""
        return self.words if len(self.words) <= MAX_LISTED_WORDS else ()


@dataclass(frozen=True, slots=True)
class Lost:
    """What a failed engine leaves: its text so far, and the seconds whose words may be missing."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Something was refused or failed; the connection ends if the error has a close code."""

    error: LanscribeError
    lost: Lost | None = None
    of: Utterance | None = None


ServerEvent = (
    SessionCreated
    | SessionResumed
    | SessionStopping
    | SessionEnded
    | Delta
    | SpeechStarted
    | SpeechPaused
    | SpeechResumed
    | SpeechStopped
    | Committed
    | Cancelled
    | Done
    | Failure
)
