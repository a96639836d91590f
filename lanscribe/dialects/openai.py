"""OpenAI's realtime protocol for transcription, at /v1/realtime: today's form and the beta's.

JSON in text frames; audio is base64 of 16-bit PCM at 24 kHz, or of G.711 at 8 kHz. An utterance
is an item: committed by the client, or by the server where turn detection is on.
docs/protocol.md describes it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SpeechStarted,
    SpeechStopped,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.fields import Fields, base64_bytes, decode_object, inner, text, unknown
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.openai_settings import (
    OpenAiSettings,
    beta_format,
    format_fields,
    turn_fields,
    updated,
)
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ClientError, LanscribeError
from lanscribe.speech.audio import Samples

_EXAMPLE = 'an object such as {"type":"session.update","session":{"type":"transcription"}}'
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class OpenAiDialect:
    """The codec of one session."""

    name = "openai"
    refusal = None

    def __init__(
        self, info: EngineInfo | None = None, _query: Mapping[str, str] | None = None
    ) -> None:
        self._model = info.model if info else ""
        languages = info.languages if info else ()
        self._language = languages[0] if len(languages) == 1 else None
        self._settings = OpenAiSettings()
        self._decoder = self._settings.audio.decoder()
        self._session_id = ""
        self._is_beta = False
        self._last_event = 0
        self._answered_id: str | None = None

    def decode(self, message: Message) -> Iterable[ClientEvent]:
        """Decode one frame. Raises ProtocolError."""
        self._answered_id = None
        event = decode_object(message, _EXAMPLE)
        self.answer(event)
        match text(event, "type"):
            case "session.update":
                return self._update(event, is_beta=False)
            case "transcription_session.update":
                return self._update(event, is_beta=True)
            case "input_audio_buffer.append":
                pieces = self._decoded(event)
                return (one for piece in pieces for one in self._append(piece))
            case "input_audio_buffer.commit":
                rest = self._append(self._decoder.flush())
                return [*rest, Commit(is_final=True, needs_audio=True)]
            case "input_audio_buffer.clear":
                self._decoder.flush()
                return [Cancel()]
            case other:
                raise unknown(
                    other,
                    "session.update, input_audio_buffer.append, input_audio_buffer.commit or"
                    " input_audio_buffer.clear; this is a session for transcription",
                )

    def answer(self, event: Fields) -> None:
        """Refer to this message of the client in later errors."""
        event_id = event.get("event_id")
        self._answered_id = event_id if isinstance(event_id, str) else None

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event as the text frames that report it."""
        return [self._frame(payload) for payload in self._payloads(event)]

    def cleared(self) -> Message:
        """The answer to input_audio_buffer.clear."""
        return self._frame({"type": "input_audio_buffer.cleared"})

    def _update(self, event: Fields, *, is_beta: bool) -> Sequence[ClientEvent]:
        # The beta's guide showed its update with the settings beside the type.
        is_bare = is_beta and "session" not in event
        settings = updated(self._settings, event if is_bare else inner(event, "session"))
        before, self._settings, self._is_beta = self._settings, settings, is_beta
        events: list[ClientEvent] = []
        if settings.audio != before.audio:
            events += self._append(self._decoder.flush(), before)
            self._decoder = settings.audio.decoder()
        kind = "transcription_session.updated" if is_beta else "session.updated"
        events.append(Reply((self._frame({"type": kind, "session": self._session()}),)))
        if settings.turns != before.turns:
            events.append(DetectTurns(settings.turns))
        return events

    def _decoded(self, event: Fields) -> Iterator[Samples]:
        return self._decoder.pieces(base64_bytes(text(event, "audio")))

    def _append(
        self, samples: Samples, settings: OpenAiSettings | None = None
    ) -> Sequence[ClientEvent]:
        """The events for audio; without turn detection its transcription starts at once."""
        if not len(samples):
            return []
        is_manual = (settings or self._settings).turns is None
        started = [Commit(is_final=False)] if is_manual else []
        return [*started, AppendAudio(samples)]

    def _payloads(self, event: ServerEvent) -> Sequence[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        match event:
            case SessionCreated():
                self._session_id = event.session_id
                told = [{"type": "session.created", "session": self._session()}]
            case SpeechStarted():
                told = [self._speech("started", "audio_start_ms", event)]
            case SpeechStopped():
                told = [self._speech("stopped", "audio_end_ms", event)]
            case Committed():
                told = self._committed(event)
            case Cancelled():
                told = [{"type": "input_audio_buffer.cleared"}]
            case Delta() if event.text or extras(event):
                delta = {"delta": event.text, **extras(event)}
                told = [self._transcription("delta", event.of.number) | delta]
            case Done():
                told = [self._completed(event)]
            case Failure():
                told = [self._failure(event)]
        return told

    def _speech(
        self, kind: str, field: str, event: SpeechStarted | SpeechStopped
    ) -> dict[str, Any]:
        return {
            "type": f"input_audio_buffer.speech_{kind}",
            field: round(1000 * event.at_s),
            "item_id": self._item_id(event.of.number),
        }

    def _committed(self, event: Committed) -> list[dict[str, Any]]:
        item_id, previous = self._item_id(event.of.number), self._item_id(event.previous)
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        kinds = ("created",) if self._is_beta else ("added", "done")
        return [
            {
                "type": "input_audio_buffer.committed",
                "item_id": item_id,
                "previous_item_id": previous,
            },
            *(
                {"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": item}
                for kind in kinds
            ),
        ]

    def _completed(self, done: Done) -> dict[str, Any]:
        """The end of an item; OpenAI itself has neither word times nor the extra fields."""
        return self._transcription("completed", done.of.number) | {
            "transcript": done.text,
            "usage": {"type": "duration", "seconds": round(done.audio_s, 3)},
            "words": [
                {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
                for word in done.listed_words
            ],
            **extras(done),
        }

    def _failure(self, failure: Failure) -> dict[str, Any]:
        error = _error(failure.error)
        if failure.of is not None:
            return self._transcription("failed", failure.of.number) | {"error": error}
        is_answer = failure.error.close_code is None
        return {
            "type": "error",
            "error": error | {"event_id": self._answered_id if is_answer else None},
        }

    def _transcription(self, kind: str, number: int) -> dict[str, Any]:
        return {
            "type": f"{_TRANSCRIPTION}.{kind}",
            "item_id": self._item_id(number),
            "content_index": 0,
        }

    def _item_id(self, number: int) -> str | None:
        return f"item_{self._session_id[-12:]}_{number}" if number else None

    def _frame(self, payload: dict[str, Any]) -> str:
        self._last_event += 1
        numbered = {"type": payload["type"], "event_id": f"event_{self._last_event}", **payload}
        return to_json(numbered)

    def _session(self) -> dict[str, Any]:
        """The whole session as it is, in today's form or the beta's."""
        transcription = {"model": self._model, "language": self._language, "prompt": None}
        turn_detection = turn_fields(self._settings.turns)
        session: dict[str, Any] = {
            "id": self._session_id,
            "object": "realtime.transcription_session",
            "expires_at": None,
            "include": [],
        }
        if self._is_beta:
            return session | {
                "input_audio_format": beta_format(self._settings.audio),
                "input_audio_noise_reduction": None,
                "input_audio_transcription": transcription,
                "turn_detection": turn_detection,
            }
        audio_input = {
            "format": format_fields(self._settings.audio),
            "noise_reduction": None,
            "transcription": transcription,
            "turn_detection": turn_detection,
        }
        return session | {"type": "transcription", "audio": {"input": audio_input}}


def _error(error: LanscribeError) -> dict[str, Any]:
    kind = "invalid_request_error" if isinstance(error, ClientError) else "server_error"
    return {"type": kind, "code": error.code, "message": error.public_message, "param": None}
