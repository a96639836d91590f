"""One client session as a state machine without input or output of its own.

A session is a queue of utterances. Audio goes to the last one, which is open; a commit
starts the open utterance, a final commit ends it and opens the next. Only the first is
transcribed; the others keep their audio until it is done, so audio that a client sends early is
not lost. While the server detects turns, each utterance is one turn of the speaker, and audio
between two turns belongs to none. The driver of a session calls `receive` for the client's
events, pulls audio for the engine with `take_audio`, and reports what the engine does.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Failure,
    Finish,
    Lost,
    ServerEvent,
    SpeechStopped,
    TellTentative,
)
from lanscribe.errors import LanscribeError, LimitError, ProtocolError
from lanscribe.session.lag import LagMeter
from lanscribe.session.utterance import UtteranceState, turn_event
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import SpeechDetector
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.silence import MuteWatch
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token
from lanscribe.speech.turns import TurnBegan, TurnEnded, TurnPiece, Turns, TurnSettings

MAX_UTTERANCES = 64
"""How many utterances may wait; a commit beyond this is refused."""
RECORDING_SAMPLES = sample_count(30)
"""How much of a recording may wait. The rest can wait at its sender, and decoding minutes of it at
once would delay other clients. More of a live voice may wait, while the engine is away."""


class Session:
    """What one client has requested, and what the server still owes it.

    max_waiting_samples: how much audio may wait for the engine.
    detector: finds the speaker's turns.
    lag: judges whether the client sends live and must be told that its text is behind.
    """

    def __init__(
        self,
        max_waiting_samples: int,
        detector: SpeechDetector,
        lag: LagMeter | None = None,
    ) -> None:
        self._detector = detector
        self._max_waiting_samples = max_waiting_samples
        self._utterances = deque([UtteranceState(number=1, offset_samples=0)])
        self._last_number = 1
        self._last_committed = 0
        self._is_stopped = False
        self._tells_tentative = False
        self._turns: Turns | None = None
        self._mute_watch = MuteWatch()
        self._lag = lag or LagMeter()
        self.received_samples = 0
        """How much audio was received."""
        self.received_commits = 0
        """How many utterances the client has ended."""

    def receive(self, event: ClientEvent, now_s: float) -> list[ServerEvent]:
        """Handle a client's event at now_s of a clock; returns the immediate answers.

        The first call starts the clock that judges live audio, so pass a `Reply` too.
        Raises ClientError; the session continues after it.
        """
        self._lag.received(duration_s(self.received_samples), now_s)
        match event:
            case AppendAudio():
                return self._append(event.samples, now_s)
            case Commit():
                return self._commit(event)
            case DetectTurns():
                return self._detect_turns(event.settings)
            case Cancel():
                return self._cancel(event.tag)
            case TellTentative():
                self._tells_tentative = event.is_wanted
            case Finish():
                self.stop()
        return []

    def stop(self, *, is_cut: bool = False) -> None:
        """Accept no more from the client; end an utterance that it has started, drop any other.

        is_cut: the client did not choose the moment; it may be in the middle of a word.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._turns is not None:
            self._release(self._turns)
        self._utterances[-1].is_ended = True
        self._utterances[-1].is_cut = is_cut
        if not self._utterances[-1].is_committed:
            self._utterances.pop()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is accepted from the client."""
        return self._is_stopped

    @property
    def is_live(self) -> bool:
        """Whether the client sends no faster than people speak; otherwise it is a recording."""
        return self._lag.is_live

    @property
    def has_room(self) -> bool:
        """Whether the next message should be read now, rather than left with the sender.

        Also true when nothing is being transcribed: waiting would then last for ever, and
        `receive` refuses excess audio.
        """
        if not self.is_busy:
            return True
        has_queue = self._turns is None or len(self._utterances) < MAX_UTTERANCES
        most = self._max_waiting_samples
        bound = most if self.is_live else min(most, RECORDING_SAMPLES)
        return has_queue and self._waiting_samples < bound

    @property
    def is_busy(self) -> bool:
        """Whether an utterance is started and not done."""
        return bool(self._utterances) and self._utterances[0].is_committed

    @property
    def is_waiting_for_client(self) -> bool:
        """Whether only the client can act next: by starting, sending or ending an utterance."""
        return not self.is_busy or not (self.is_ended or self.has_audio)

    @property
    def is_over(self) -> bool:
        """Whether the session was stopped and all its utterances are done."""
        return self._is_stopped and not self._utterances

    @property
    def has_audio(self) -> bool:
        """Whether the utterance being transcribed has audio for the engine."""
        return len(self._utterances[0].waiting) > 0

    @property
    def is_ended(self) -> bool:
        """Whether the client has ended the utterance being transcribed."""
        return self._utterances[0].is_ended

    @property
    def is_cut(self) -> bool:
        """Whether a stop, not the client, has ended the utterance being transcribed."""
        return self._utterances[0].is_cut

    @property
    def is_cancelled(self) -> bool:
        """Whether the client has cancelled the utterance being transcribed."""
        return self._utterances[0].is_cancelled

    @property
    def heard_s(self) -> float:
        """How far the engine has listened, in the audio of the session."""
        head = self._utterances[0]
        return duration_s(head.offset_samples) + head.heard_s

    @property
    def lag_s(self) -> float:
        """How much audio was received and not yet heard by the engine."""
        return max(0.0, duration_s(self.received_samples) - self.heard_s)

    def take_audio(self) -> Samples:
        """The next audio for the engine, shape (n,), n up to one second; (0,) if there is none."""
        head = self._utterances[0]
        block = head.waiting.take()
        head.taken_samples += len(block)
        return block

    def is_news(self, token: Token) -> bool:
        """Whether the client gets a delta for a token of the utterance being transcribed."""
        return not self.is_cancelled and (self._tells_tentative or not token.is_tentative)

    def heard(self, token: Token) -> Delta:
        """The engine emitted a token of the utterance being transcribed, which is news."""
        head = self._utterances[0]
        lost = head.hear(token)
        start_s = None if lost else token.start_s
        end_s = token.end_s if token.text else head.heard_s  # a successor listens again
        return self._delta(Token(token.text, end_s, start_s=start_s), lost=lost)

    def progress(self, *, is_muted: bool = False) -> Delta:
        """The engine's progress, as a delta without text."""
        return self._delta(Token("", self._utterances[0].heard_s), is_muted=is_muted)

    def _delta(self, told: Token, *, lost: Span | None = None, is_muted: bool = False) -> Delta:
        self._lag.judge(self.lag_s)
        return Delta(
            told.text,
            told.end_s,
            start_s=told.start_s,
            lag_s=self.lag_s,
            is_behind=self._lag.is_behind,
            of=self._utterances[0].name,
            lost=lost,
            tentative=self._utterances[0].tentative if self._tells_tentative else "",
            is_muted=is_muted,
        )

    def _noted(self, *, is_mute: bool) -> list[ServerEvent]:
        """What a live client must know at once: it is behind, has caught up, or sends zeros."""
        has_changed = self._lag.judge(self.lag_s)
        is_mute = is_mute and self.is_live  # a recording may well have digital silence
        if not self.is_busy or self.is_cancelled or not (has_changed or is_mute):
            return []
        return [self.progress(is_muted=is_mute)]

    def completed(self) -> list[ServerEvent]:
        """The engine has emitted the last token of the utterance being transcribed."""
        head = self._utterances.popleft()
        if head.is_cancelled:
            return []
        return [head.done()]

    def failed(self, error: LanscribeError) -> list[ServerEvent]:
        """The engine failed on the utterance being transcribed.

        Audio that it was not yet fed stays, and is transcribed at the client's next commit; an
        utterance that the client had ended is abandoned.
        """
        head = self._utterances.popleft()
        if head.is_cancelled:
            return []
        if not head.is_ended:
            self._utterances.appendleft(self._successor(head))
            end_s = duration_s(head.taken_samples)
        else:
            end_s = duration_s(head.taken_samples + len(head.waiting))
        lost = Lost(head.transcript.text, min(head.settled_s, end_s), end_s)
        return [Failure(error, lost, head.name)]

    def _successor(self, broken: UtteranceState) -> UtteranceState:
        """An utterance with the audio that a broken one has not fed to the engine yet."""
        self._last_number += 1
        offset_samples = broken.offset_samples + broken.taken_samples
        return UtteranceState(
            self._last_number, offset_samples, waiting=broken.waiting, sound=broken.sound
        )

    @property
    def _waiting_samples(self) -> int:
        return sum(len(utterance.waiting) for utterance in self._utterances)

    def _append(self, samples: Samples, now_s: float) -> list[ServerEvent]:
        if not self.is_busy and self._waiting_samples >= self._max_waiting_samples:
            raise LimitError(
                "audio_buffer_full",
                f"{duration_s(self._waiting_samples):.0f} s of audio wait for a commit and this"
                " append was refused; send input_audio_buffer.commit first, then append",
            )
        self.received_samples += len(samples)
        self._lag.received(duration_s(self.received_samples), now_s)
        noted = self._noted(is_mute=self._mute_watch.add(samples))
        if self._turns is not None:
            return noted + self._follow(self._turns.add(samples))
        self._utterances[-1].append(samples)
        return noted

    def _commit(self, commit: Commit) -> list[ServerEvent]:
        if commit.is_final and len(self._utterances) >= MAX_UTTERANCES:
            raise LimitError(
                "too_many_utterances",
                f"{MAX_UTTERANCES} utterances wait and this commit was refused; wait for their"
                " transcription.done",
            )
        utterance = self._utterances[-1]
        told: list[ServerEvent] = []
        if commit.is_final and self._turns is not None:
            told = self._release(self._turns)
        if (
            commit.is_final
            and commit.needs_audio
            and self.received_samples == utterance.offset_samples
        ):
            raise ProtocolError(
                "input_audio_buffer_commit_empty",
                "got a commit of an empty buffer; expected audio before it; append some first",
            )
        utterance.is_committed = True
        utterance.tag = commit.tag or utterance.tag
        return [*told, self._end(utterance)] if commit.is_final else []

    def _end(self, utterance: UtteranceState) -> Committed:
        """End the open utterance and open the next."""
        utterance.is_committed = utterance.is_ended = True
        self.received_commits += 1
        self._open_next()
        previous, self._last_committed = self._last_committed, utterance.number
        return Committed(utterance.name, previous)

    def _detect_turns(self, settings: TurnSettings | None) -> list[ServerEvent]:
        """Detect turns from now on, or (None) rely on the client's commits.

        The open utterance loses no audio: if it was started it goes on, else its audio is searched.
        """
        utterance = self._utterances[-1]
        is_speaking = utterance.is_committed
        if self._turns is not None:
            self._release(self._turns)
            self._turns = None
        if settings is None:
            return []
        utterance.is_turn = not settings.is_command
        blocks = []
        while not is_speaking and len(utterance.waiting):
            blocks.append(utterance.waiting.take())
        start = self.received_samples - sum(len(block) for block in blocks)
        self._turns = turns = Turns(
            settings, self._detector.stream(), start, is_speaking=is_speaking
        )
        return [event for block in blocks for event in self._follow(turns.add(block))]

    def _follow(self, pieces: Sequence[TurnPiece]) -> list[ServerEvent]:
        """Make utterances from the detected turns."""
        told: list[ServerEvent] = []
        for piece in pieces:
            utterance = self._utterances[-1]
            if isinstance(piece, np.ndarray):
                utterance.append(piece)
                utterance.is_committed = True
                continue
            if isinstance(piece, TurnBegan):
                utterance.offset_samples, utterance.is_turn = piece.at, piece.has_speech
            told.append(turn_event(piece, utterance.name))
            if isinstance(piece, TurnEnded):
                told.append(self._end(utterance))
        return told

    def _release(self, turns: Turns) -> list[ServerEvent]:
        """Give the open utterance the audio held back, and end the turn, if one has begun."""
        utterance = self._utterances[-1]
        was_speaking = turns.is_speaking
        rest = turns.release()
        utterance.append(rest)
        if was_speaking:
            end_s = duration_s(self.received_samples)
            return [SpeechStopped(utterance.name, end_s, is_forced=True)]
        utterance.offset_samples = self.received_samples - len(rest)
        return []

    def _cancel(self, tag: str | None) -> list[ServerEvent]:
        """Cancel an utterance; does nothing if none has this name."""
        utterance = self._find(tag)
        if utterance is None:
            return []
        is_open = utterance is self._utterances[-1]
        if is_open and self._turns is not None:
            self._turns.release()
        utterance.is_cancelled = utterance.is_ended = True
        utterance.waiting = SampleRing()
        if utterance is not self._utterances[0] or not utterance.is_committed:
            self._utterances.remove(utterance)
        if is_open:
            self._open_next()
        return [Cancelled(utterance.name)]

    def _find(self, tag: str | None) -> UtteranceState | None:
        if tag is None:
            return self._utterances[-1]
        found = (
            utterance
            for utterance in self._utterances
            if utterance.tag == tag and not utterance.is_cancelled
        )
        return next(found, None)

    def _open_next(self) -> None:
        self._last_number += 1
        self._utterances.append(UtteranceState(self._last_number, self.received_samples))
