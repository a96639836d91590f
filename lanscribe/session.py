"""One client session as a state machine without input or output of its own.

A session is a row of utterances. Audio goes to the last of them, the open one; a commit
starts the open utterance, a final commit ends it and opens the next. Only the first is
transcribed; the others keep their audio until it is done, so nothing that a client sends
early is lost. Whoever drives a session calls `receive` for what the client says, pulls audio
for the engine with `take_audio`, and reports what the engine does.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lanscribe.audio import SampleRing, Samples, duration_s
from lanscribe.engines.base import Token
from lanscribe.errors import LanscribeError, LimitError, ProtocolError
from lanscribe.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    Done,
    Failure,
    SelectModel,
    ServerEvent,
)
from lanscribe.transcript import Transcript

MAX_UTTERANCES = 64
"""How many utterances may wait; a commit beyond it is refused."""


@dataclass(slots=True, eq=False)
class _Utterance:
    waiting: SampleRing = field(default_factory=SampleRing)
    transcript: Transcript = field(default_factory=Transcript)
    taken_samples: int = 0
    is_committed: bool = False
    is_ended: bool = False


class Session:
    """What one client has asked for and what it is still owed.

    models: the names by which the served model may be asked for.
    max_waiting_samples: how much audio may wait for the engine.
    """

    def __init__(self, models: Sequence[str], max_waiting_samples: int) -> None:
        self._models = models
        self._max_waiting_samples = max_waiting_samples
        self._utterances = deque([_Utterance()])
        self._has_model = False
        self._is_stopped = False

    def receive(self, event: ClientEvent) -> None:
        """Take in what the client says. Raises ClientError; the session goes on after it."""
        match event:
            case SelectModel():
                self._select_model(event.model)
            case AppendAudio():
                self._append(event.samples)
            case Commit():
                self._commit(event.is_final)

    def stop(self) -> None:
        """Take no more from the client: end what it has started, forget what it has not."""
        self._is_stopped = True
        self._utterances[-1].is_ended = True
        if not self._utterances[-1].is_committed:
            self._utterances.pop()

    @property
    def has_room(self) -> bool:
        """Whether the next message should be read now, rather than left with the sender.

        Also true when nothing is being transcribed: waiting would then be for ever, and
        `receive` refuses what is too much.
        """
        return not self.is_busy or self._waiting_samples < self._max_waiting_samples

    @property
    def is_busy(self) -> bool:
        """Whether an utterance is started and not done."""
        return bool(self._utterances) and self._utterances[0].is_committed

    @property
    def is_waiting_for_client(self) -> bool:
        """Whether all that is left to do is the client's: to start, to send, or to end."""
        return not self.is_busy or not (self.is_ended or self.has_audio)

    @property
    def is_over(self) -> bool:
        """Whether the session was stopped and the client has everything it was owed."""
        return self._is_stopped and not self._utterances

    @property
    def has_audio(self) -> bool:
        """Whether the utterance being transcribed has audio for the engine."""
        return len(self._utterances[0].waiting) > 0

    @property
    def is_ended(self) -> bool:
        """Whether the client has ended the utterance being transcribed."""
        return self._utterances[0].is_ended

    def take_audio(self) -> Samples:
        """The next audio for the engine, shape (n,), n up to one second; (0,) if there is none."""
        head = self._utterances[0]
        block = head.waiting.take()
        head.taken_samples += len(block)
        return block

    def heard(self, token: Token) -> ServerEvent:
        """The engine emitted a token of the utterance being transcribed."""
        if token.text:
            self._utterances[0].transcript.append(token)
        return Delta(token.text, token.end_s)

    def completed(self) -> ServerEvent:
        """The engine has emitted the last token of the utterance being transcribed."""
        head = self._utterances.popleft()
        return Done(
            text=head.transcript.text,
            audio_s=duration_s(head.taken_samples),
            token_count=head.transcript.token_count,
        )

    def failed(self, error: LanscribeError) -> ServerEvent:
        """The engine broke on the utterance being transcribed.

        Audio it was not yet given stays, and is transcribed at the client's next commit; an
        utterance that the client had ended is given up.
        """
        head = self._utterances.popleft()
        if not head.is_ended:
            self._utterances.appendleft(_Utterance(waiting=head.waiting))
        return Failure(error)

    @property
    def _waiting_samples(self) -> int:
        return sum(len(utterance.waiting) for utterance in self._utterances)

    def _select_model(self, model: str) -> None:
        if model not in self._models:
            served = ", ".join(self._models)
            raise ProtocolError(
                "model_not_found",
                f"got the model {model[:200]!r}; this server has: {served}. Send session.update"
                " with that name, or read it from GET /v1/models",
            )
        self._has_model = True

    def _append(self, samples: Samples) -> None:
        if not self.is_busy and self._waiting_samples >= self._max_waiting_samples:
            raise LimitError(
                "audio_buffer_full",
                f"{duration_s(self._waiting_samples):.0f} s of audio wait for a commit and this"
                " append was refused; send input_audio_buffer.commit first, then append",
            )
        self._utterances[-1].waiting.append(samples)

    def _commit(self, is_final: bool) -> None:
        if not self._has_model:
            raise ProtocolError(
                "model_not_validated",
                "got a commit before a model was chosen; send session.update with a model first",
            )
        if is_final and len(self._utterances) >= MAX_UTTERANCES:
            raise LimitError(
                "too_many_utterances",
                f"{MAX_UTTERANCES} utterances wait and this commit was refused; wait for their"
                " transcription.done",
            )
        self._utterances[-1].is_committed = True
        if is_final:
            self._utterances[-1].is_ended = True
            self._utterances.append(_Utterance())
