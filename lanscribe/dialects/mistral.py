"""Mistral's realtime transcription at /v1/audio/transcriptions/realtime (mistralai 3.7.0).

JSON in text frames; audio is base64 in one of six encodings, at the rate that the session names.
A flush ends an utterance and the session goes on. docs/protocol.md describes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lanscribe.dialects import fields, mistral_turns, model_names
from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Finish,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.fields import Fields
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.mistral_turns import MistralTurns, Spoken, TurnEvents
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import LanscribeError, ProtocolError
from lanscribe.speech.audio import in_pieces
from lanscribe.speech.pcm import PcmDecoder, unknown_encoding

MAX_APPEND_BYTES = 262_144
"""The most decoded audio in one message."""
_EXAMPLE = '{"type":"input_audio.append","audio":"BASE64"}'
_TYPES = "session.update, input_audio.append, input_audio.flush or input_audio.end"
_FLUSH = "flush"
"""The tag of utterances that the client has ended."""
_POLICY_VIOLATION = 1008
"""The close code (RFC 6455, section 7.4.1)."""
_ADVICE = "Connect again with that name, or without one; GET /v1/models lists it"
_ENCODINGS = ("pcm_s16le", "pcm_s32le", "pcm_f16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw")
OWN_STATUS = {"server_busy": 429, "session_too_long": 400, "too_many_guesses": 400}
"""Mistral's codes are numbers: the HTTP status with the same meaning, except for these."""


class MistralDialect:
    """The codec of one session."""

    name = "mistral"

    def __init__(
        self, info: EngineInfo | None = None, query: Mapping[str, str] | None = None
    ) -> None:
        self._info = info
        self._model = info.model if info else ""
        self.refusal = model_names.refusal(
            (query or {}).get("model", ""), self._model, _ADVICE, close_code=_POLICY_VIOLATION
        )
        self._session_id = ""
        self._encoding, self._rate_hz = "pcm_s16le", 16_000
        self._decoder: PcmDecoder | None = None
        """None until audio has come."""
        self._is_open = False
        """Whether audio has come since the last flush."""
        self._is_started = False
        """Whether the engine is transcribing."""
        self._has_flushed = False
        self._has_told_language = False
        self._turns: MistralTurns | None = None
        """None while the client ends its utterances itself."""
        self._is_diarize_wished = False
        self._turn_events = TurnEvents()
        self._spoken = Spoken()

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one frame. Raises ProtocolError."""
        event = fields.decode_object(message, _EXAMPLE)
        match kind := fields.text(event, "type"):
            case "session.update":
                return self._update(fields.inner(event, "session"))
            case "input_audio.append":
                return self._append(fields.base64_bytes(fields.text(event, "audio")))
            case "input_audio.flush":
                return self._flush()
            case "input_audio.end":
                is_owed = self._is_open or not self._has_flushed
                return [*(self._flush() if is_owed else []), Finish()]
            case _:
                raise fields.unknown(kind, _TYPES)

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event; no text frame, one, or several."""
        return [to_json(told) for told in self._told(event)]

    def _told(self, event: ServerEvent) -> Iterator[dict[str, Any]]:
        match event:
            case SessionCreated():
                self._session_id = event.session_id
                yield {"type": "session.created", "session": self._session}
            case Delta() if event.text or extras(event):
                yield from self._language()
                more = extras(event, offset_s=event.of.offset_s)
                text = self._spoken.delta(event)
                yield {"type": "transcription.text.delta", "text": text, **more}
            case SpeechStarted() | SpeechPaused() | SpeechResumed() | SpeechStopped() | Committed():
                yield from self._turn_events.take(event)
            case Done():
                is_asked = event.of.tag == _FLUSH or self._turn_events.is_unannounced(event)
                yield from self._turn_events.before(event)
                yield from self._done(event, is_asked=is_asked)
                yield from self._turn_events.after()
            case Failure(of=None):
                yield _error(event.error)
            case Failure():
                self._is_started = False
                yield from self._turn_events.before(event)
                yield _error(event.error)
                yield from self._turn_events.after()

    def _update(self, wished: Fields) -> list[ClientEvent]:
        """Apply what can be chosen; the answer has the values in force, whatever was requested."""
        if self._decoder is not None:
            raise ProtocolError(
                "out_of_order",
                "Session fields cannot be changed after audio has started; send session.update"
                " before the first input_audio.append, or begin a new session",
            )
        _check_wishes(wished)
        turns, is_diarize_wished = self._wished_turns(wished)
        if audio_format := fields.inner(wished, "audio_format"):
            encoding = fields.text(audio_format, "encoding")
            rate_hz = fields.integer(audio_format, "sample_rate")
            _new_decoder(encoding, rate_hz)
            self._encoding, self._rate_hz = encoding, rate_hz
        before, self._turns, self._is_diarize_wished = self._turns, turns, is_diarize_wished
        reply = Reply((to_json({"type": "session.updated", "session": self._session}),))
        return (
            [reply] if turns == before else [reply, DetectTurns(turns.settings if turns else None)]
        )

    def _wished_turns(self, wished: Fields) -> tuple[MistralTurns | None, bool]:
        """The turn detection after an update, and whether speakers are wished; not both."""
        turns = self._turns
        if "turn_detection" in wished:
            wants = wished["turn_detection"] is not None
            turns = mistral_turns.wished(fields.inner(wished, "turn_detection")) if wants else None
        diarize = self._is_diarize_wished
        if "diarize" in wished:
            diarize = fields.flag(wished, "diarize")
        if turns and diarize:
            raise ProtocolError(
                "invalid_event",
                "Diarization is not compatible with turn detection: got both; expected one, so"
                " leave out diarize or turn_detection",
            )
        return turns, diarize

    def _append(self, audio: bytes) -> list[ClientEvent]:
        if len(audio) > MAX_APPEND_BYTES:
            raise ProtocolError(
                "invalid_audio",
                f"got {len(audio)} bytes of audio in one message; expected {MAX_APPEND_BYTES} or"
                " fewer, send them in several messages",
            )
        decoder = self._decoder or _new_decoder(self._encoding, self._rate_hz)
        try:
            samples = decoder.feed(audio)
        except ValueError as error:
            raise ProtocolError("invalid_audio", f"{error}; expected {self._encoding}") from error
        self._decoder = decoder
        self._is_open = True
        parts = in_pieces(samples) if self._turns else [samples]
        return [*self._start(), *map(AppendAudio, parts)]

    def _flush(self) -> list[ClientEvent]:
        """End the utterance; without audio it is empty, so each flush gets its done event."""
        rest = [AppendAudio(self._decoder.flush())] if self._decoder else []
        events = [*self._start(), *rest, Commit(is_final=True, tag=_FLUSH)]
        self._is_open = self._is_started = False
        self._has_flushed = True
        return events

    def _start(self) -> list[ClientEvent]:
        """The commit that makes text come during speech, if it is not sent yet.

        None where the server finds the turns.
        """
        if self._is_started or self._turns:
            return []
        self._is_started = True
        return [Commit(is_final=False)]

    @property
    def _session(self) -> dict[str, Any]:
        """The values in force of everything that a session.update can request."""
        return {
            "request_id": self._session_id,
            "model": self._model,
            "audio_format": {"encoding": self._encoding, "sample_rate": self._rate_hz},
            "target_streaming_delay_ms": round(1000 * self._info.delay_s) if self._info else None,
            "diarize": False,
            "context_bias": None,
            "language": self._only_language,
            "speaker_references": None,
            "turn_detection": self._turns.fields if self._turns else None,
        }

    @property
    def _only_language(self) -> str | None:
        """The language of the speech, if the engine knows only one."""
        languages = self._info.languages if self._info else ()
        return languages[0] if len(languages) == 1 else None

    def _language(self) -> Iterator[dict[str, Any]]:
        """The event that names the language: once in a session, before its first text."""
        if self._only_language and not self._has_told_language:
            self._has_told_language = True
            yield {"type": "transcription.language", "audio_language": self._only_language}

    def _done(self, done: Done, *, is_asked: bool) -> Iterator[dict[str, Any]]:
        for segment in self._spoken.end(done):
            yield {"type": "transcription.segment", **segment}
        if is_asked:
            named = {"model": self._model, "language": self._only_language}
            yield {"type": "transcription.done", **named, **self._spoken.take()}


def _new_decoder(encoding: str, rate_hz: int) -> PcmDecoder:
    try:
        if encoding not in _ENCODINGS:
            raise unknown_encoding(encoding, _ENCODINGS)
        return PcmDecoder(encoding, rate_hz)
    except ValueError as error:
        raise ProtocolError("invalid_event", str(error)) from error


def _check_wishes(wished: Fields) -> None:
    """Check the types of the fields that have no effect here."""
    if wished.get("target_streaming_delay_ms") is not None:
        fields.integer(wished, "target_streaming_delay_ms")
    fields.text(wished, "language", "")
    fields.inner(wished, "speaker_references")


def _error(error: LanscribeError) -> dict[str, Any]:
    """Mistral's code is a number; ours is the type."""
    code = OWN_STATUS.get(error.code, error.kind.http_status)
    return {
        "type": "error",
        "error": {"message": error.public_message, "code": code, "type": error.code},
    }
