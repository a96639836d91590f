"""One utterance of a session, as it grows."""

from dataclasses import dataclass, field

from lanscribe.dialects.events import (
    Done,
    ServerEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.silence import Listener, NoSpeech
from lanscribe.speech.spans import Span, Spans
from lanscribe.speech.transcript import Token, Transcript
from lanscribe.speech.turns import TurnBegan, TurnMark, TurnPaused, TurnResumed


@dataclass(slots=True, eq=False)
class UtteranceState:
    """One utterance of a session: its audio, its text, and the progress of both."""

    number: int
    offset_samples: int
    tag: str = ""
    waiting: SampleRing = field(default_factory=SampleRing)
    transcript: Transcript = field(default_factory=Transcript)
    sound: Listener = field(default_factory=Listener)
    lost: Spans = field(default_factory=Spans)
    taken_samples: int = 0
    heard_s: float = 0.0
    settled_s: float = 0.0
    tentative: str = ""
    """The words after the text that may still change, as the newest token told them."""
    is_committed: bool = False
    is_ended: bool = False
    is_cut: bool = False
    is_cancelled: bool = False
    is_turn: bool = False
    """Whether the server has detected its beginning."""

    def append(self, samples: Samples) -> None:
        """Add audio for the engine, shape (n,)."""
        self.waiting.append(samples)
        self.sound.add(samples)

    @property
    def no_speech(self) -> NoSpeech | None:
        """Why no speech was heard; None if there is text, lost audio or a detected turn."""
        is_clear = self.is_turn or self.lost or self.transcript.text.strip()
        return None if is_clear else self.sound.no_speech()

    @property
    def name(self) -> Utterance:
        """How events identify it."""
        return Utterance(self.number, self.tag, duration_s(self.offset_samples))

    def hear(self, token: Token) -> Span | None:
        """Take in a token of the engine; returns the audio that it reports as lost, if any."""
        self.tentative = token.tentative
        if token.is_tentative:
            return None
        self.heard_s = max(self.heard_s, token.end_s)
        self.settled_s = max(self.settled_s, token.known_s)
        if token.text:
            self.transcript.append(token)
        if not token.is_lost:
            return None
        lost = Span(token.begin_s, token.end_s)
        self.lost.add(lost)
        return lost

    def done(self) -> Done:
        """The event that reports its completion."""
        return Done(
            text=self.transcript.text,
            audio_s=duration_s(self.taken_samples),
            token_count=self.transcript.token_count,
            words=tuple(word.bare for word in self.transcript.words),
            lost=tuple(self.lost),
            no_speech=self.no_speech,
            of=self.name,
        )


def turn_event(mark: TurnMark, of: Utterance) -> ServerEvent:
    """The event that reports a mark of the turn that is this utterance."""
    at_s = duration_s(mark.at)
    match mark:
        case TurnBegan():
            return SpeechStarted(of, at_s)
        case TurnPaused():
            return SpeechPaused(of, at_s)
        case TurnResumed():
            return SpeechResumed(of, at_s)
        case _:
            return SpeechStopped(of, at_s, is_forced=mark.is_timeout)
