"""vLLM's protocol at /v1/realtime (vllm 0.33.0, vllm/entrypoints/speech_to_text/realtime).

JSON in text frames; audio is base64 of 16-bit little-endian PCM, 16 kHz, mono. Beyond vLLM: a
binary frame is raw PCM of the same format, and deltas and done carry times in extra fields.
docs/protocol.md describes both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lanscribe.dialects import fields, model_names
from lanscribe.dialects.events import (
    Acknowledge,
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    Done,
    Failure,
    KeepForResume,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionResumed,
    SessionStopping,
    TellTentative,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.segments import Segments, wished
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ProtocolError
from lanscribe.voxtral.steps import steps_of

_EXAMPLE = '{"type":"session.update","model":"..."}'
_EXPECTED = "session.update, input_audio_buffer.append or input_audio_buffer.commit"
_TIMES = ("start_s", "end_s")
_ADVICE = "Send session.update with that name or with an empty one; GET /v1/models lists it"


class VllmDialect:
    """The codec of vLLM's realtime protocol."""

    name = "vllm"
    refusal = None

    def __init__(
        self, info: EngineInfo | None = None, _query: Mapping[str, str] | None = None
    ) -> None:
        self._model = info.model if info else ""
        self._has_model = False
        """Whether the client has named the served model, as vLLM wants it before a commit."""
        self._number = 0
        self._segments: Segments | None = None
        """If the client has asked for segments with times."""
        self._tells_tentative = False
        self._decoder = fields.pcm16_decoder()

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one frame. Raises ProtocolError with a code of vLLM's."""
        if isinstance(message, bytes):
            return self._append(message)
        event = fields.decode_object(message, _EXAMPLE)
        acknowledged = [Acknowledge(fields.integer(event, "seen"))] if "seen" in event else []
        return [*acknowledged, *self._client_events(event)]

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event as one text frame; none if vLLM has no event for it.

        Frames are numbered with "seq", except those outside the session's sequence: the
        greeting of a resumed connection, and an error that ends a connection.
        """
        if isinstance(event, SessionResumed):
            self._decoder.flush()  # the client sends half a sample again, from its first byte
        if isinstance(event, Failure) and event.error.code == "audio_buffer_full":
            self._decoder.undo()  # the client sends what was refused again
        told = payload(event)
        if told is None:
            return []
        if self._segments is not None and isinstance(event, Delta):
            told["segments"] = self._segments.of_delta(event)
        if self._segments is not None and isinstance(event, Done):
            told["segments"] = self._segments.of_done(event)
        if self._segments is not None and isinstance(event, Failure) and event.lost:
            self._segments = Segments()
        return [to_json(told)] if _is_apart(event) else [self._numbered(told)]

    def _numbered(self, told: dict[str, Any]) -> Message:
        self._number += 1
        return to_json({**told, "seq": self._number})

    def _client_events(self, event: fields.Fields) -> list[ClientEvent]:
        match event.get("type"):
            case "session.update":
                return self._update(event)
            case "input_audio_buffer.append":
                return self._append(fields.base64_bytes(fields.text(event, "audio")))
            case "input_audio_buffer.commit":
                return [self._commit(is_final=fields.flag(event, "final"))]
            case str(unknown):
                raise fields.unknown(unknown, _EXPECTED)
            case other:
                raise ProtocolError(
                    "invalid_event", f"got {fields.kind(other)} as the type; expected a string"
                )

    def _update(self, event: fields.Fields) -> list[ClientEvent]:
        """Choose a model; vLLM answers that only if it is not served, or if times are asked for."""
        is_resumable, is_tentative = fields.flag(event, "resume"), fields.flag(event, "tentative")
        model = fields.text(event, "model")
        model_names.check(model, self._model, _ADVICE)
        granularities = self._granularities(event)
        self._has_model = True
        told = {
            "type": "session.updated",
            "model": self._model or model,
            "timestamp_granularities": granularities,
        }
        answers = () if granularities is None else (self._numbered(told),)
        keep = [KeepForResume()] if is_resumable else []
        return [Reply(answers), *keep, *self._tentative(is_wanted=is_tentative)]

    def _tentative(self, *, is_wanted: bool) -> list[TellTentative]:
        """The wish for tentative words, if it has changed; an update without it revokes it."""
        has_changed, self._tells_tentative = is_wanted != self._tells_tentative, is_wanted
        return [TellTentative(is_wanted)] if has_changed else []

    def _granularities(self, event: fields.Fields) -> list[str] | None:
        """The times that are asked for; None without that field.

        As in vLLM, an update without the wish revokes it, and a wrong one revokes the model.
        """
        try:
            granularities = wished(event)
        except ProtocolError:
            self._has_model = False
            raise
        is_wanted = granularities is not None and "segment" in granularities
        self._segments = (self._segments or Segments()) if is_wanted else None
        return None if granularities is None else list(granularities)

    def _append(self, audio: bytes) -> list[ClientEvent]:
        return [AppendAudio(self._decoder.feed(fields.not_empty(audio)))]

    def _commit(self, *, is_final: bool) -> Commit:
        if not self._has_model:
            raise ProtocolError(
                "model_not_validated",
                "got a commit before a model was chosen; send session.update with a model first",
            )
        if is_final:
            self._decoder.flush()
        return Commit(is_final=is_final)


def _is_apart(event: ServerEvent) -> bool:
    if isinstance(event, Failure):
        return event.error.close_code is not None
    return isinstance(event, SessionResumed)


def payload(event: ServerEvent) -> dict[str, Any] | None:
    """vLLM's fields for an event, with its type; None if vLLM has no event for it."""
    match event:
        case SessionCreated() | SessionResumed() | SessionStopping():
            return _of_session(event)
        case Delta():
            return _delta(event)
        case Done():
            return {
                "type": "transcription.done",
                "text": event.text,
                "usage": usage(event),
                "duration_s": round(event.audio_s, 3),
                "words": [
                    {
                        "word": word.text,
                        "start": round(word.start_s, 3),
                        "end": round(word.end_s, 3),
                    }
                    for word in event.listed_words
                ],
                **extras(event, names=_TIMES),
            }
        case Failure():
            return _error(event)
        case _:
            return None


def _of_session(event: SessionCreated | SessionResumed | SessionStopping) -> dict[str, Any]:
    match event:
        case SessionCreated():
            return _greeting(event)
        case SessionResumed():
            return {
                "type": "session.resumed",
                "id": event.session_id,
                "received_samples": event.received_samples,
                "received_commits": event.received_commits,
            }
    return {"type": "session.stopping"}


def _greeting(event: SessionCreated) -> dict[str, Any]:
    greeting: dict[str, Any] = {
        "type": "session.created",
        "id": event.session_id,
        "created": event.created_unix_s,
    }
    if event.keep_s:
        greeting["resume"] = {"token": event.resume_token, "keep_s": event.keep_s}
    return greeting


def _delta(event: Delta) -> dict[str, Any]:
    delta: dict[str, Any] = {
        "type": "transcription.delta",
        "delta": event.text,
        "end_s": round(event.end_s, 3),
        "lag_s": round(event.lag_s, 3),
    }
    if event.start_s is not None:
        delta["start_s"] = round(event.start_s, 3)
    if event.is_behind:
        delta["is_behind"] = True
    if event.tentative:
        delta["tentative"] = event.tentative
    return delta | extras(event, names=_TIMES)


def _error(event: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "type": "error",
        "error": event.error.public_message,
        "code": event.error.code,
    }
    if event.lost is not None:
        error["text"] = event.lost.text
        error["lost"] = {
            "start_s": round(event.lost.start_s, 3),
            "end_s": round(event.lost.end_s, 3),
        }
    return error


def usage(done: Done) -> dict[str, int]:
    """The tokens of an utterance, as vLLM counts them."""
    prompt_tokens = steps_of(done.audio_s)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": done.token_count,
        "total_tokens": prompt_tokens + done.token_count,
    }
