"""Yap's protocol at /ws: vLLM's events in an envelope that names the session and the request.

Every message, both ways, is {"type", "session_id", "request_id", "payload"}. A request is an
utterance; its audio is base64 of 16-bit little-endian PCM, 16 kHz, mono. Requests may follow
each other before the first is answered. docs/protocol.md describes it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lanscribe.dialects import fields, model_names
from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    ClientEvent,
    Commit,
    Delta,
    Done,
    Failure,
    Finish,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    Utterance,
)
from lanscribe.dialects.fields import Fields
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.vllm import payload as vllm_payload
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ProtocolError

_LONGEST_ID = 200
"""In characters; every answer repeats an identifier."""
_EXAMPLE = '{"type":"ping","session_id":"...","request_id":"...","payload":{}}'
_TYPES = (
    "session.update, input_audio_buffer.commit, input_audio_buffer.append, cancel, ping, pong, end"
)
_ADVICE = "Send session.update with that name, or none: a request needs none"
YAPS_CODES = {
    "invalid_json": "invalid_message",
    "invalid_event": "invalid_message",
    "unknown_event": "invalid_message",
    "invalid_audio": "invalid_payload",
    "model_not_found": "invalid_payload",
    "out_of_order": "invalid_payload",
    "unauthorized": "authentication_failed",
    "not_allowed": "authentication_failed",
    "server_busy": "server_at_capacity",
    "internal": "internal_error",
}
"""Yap's names for this server's errors; it has no name for the others."""


class _Ids(NamedTuple):
    """The session of a message, and the request that it is about."""

    session_id: str = "unknown"
    request_id: str = "unknown"

    @property
    def tag(self) -> str:
        """Both as one text, which identifies an utterance."""
        return to_json(self)


class YapDialect:
    """The codec of one connection."""

    name = "yap"
    refusal = None

    def __init__(
        self, info: EngineInfo | None = None, _query: Mapping[str, str] | None = None
    ) -> None:
        self._model = info.model if info else ""
        self._asked = _Ids()
        """The ids in the message that was decoded last."""
        self._open: _Ids | None = None
        """The request that takes audio."""
        self._open_before: _Ids | None = None
        """The request that took audio before the message that was decoded last."""
        self._is_open_broken = False
        """Whether the engine failed on the open request, so that it must be started again."""
        self._end_asked: _Ids | None = None
        self._decoder = fields.pcm16_decoder()

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one envelope. Raises ProtocolError."""
        self._open_before = self._open
        self._asked = _Ids(self._asked.session_id)
        envelope = fields.decode_object(message, _EXAMPLE)
        self._asked = _Ids(_identifier(envelope, "session_id"), _identifier(envelope, "request_id"))
        return self._client_events(fields.text(envelope, "type"), fields.inner(envelope, "payload"))

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event as one envelope; none if Yap has no event for it."""
        match event:
            case SessionCreated():
                return [_enveloped(self._asked, replace(event, keep_s=0.0))]
            case Delta() | Done():
                return [_enveloped(_ids_of(event.of), event)]
            case Failure():
                return [self._error(event)]
            case SessionEnded() if self._end_asked:
                return [_envelope("session_end", self._end_asked)]
            case _:
                return []

    def _client_events(self, kind: str, payload: Fields) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        match kind:
            case "session.update":
                events = self._update(payload)
            case "input_audio_buffer.commit" if fields.flag(payload, "final"):
                events = self._finish_request()
            case "input_audio_buffer.commit":
                events = self._start_request()
            case "input_audio_buffer.append":
                events = self._append(payload)
            case "cancel":
                events = self._cancel(payload)
            case "ping":
                events = [Reply((_envelope("pong", self._asked),))]
            case "pong":
                pass
            case "end":
                self._end_asked = self._asked
                events = [Finish()]
            case _:
                raise fields.unknown(kind, _TYPES)
        return events

    def _update(self, payload: Fields) -> list[ClientEvent]:
        model_names.check(fields.text(payload, "model", ""), self._model, _ADVICE)
        updated = _envelope("session.updated", self._asked, {"model": self._model})
        return [Reply((updated,))]

    def _append(self, payload: Fields) -> list[ClientEvent]:
        self._require_open("audio")
        audio = fields.not_empty(fields.base64_bytes(fields.text(payload, "audio")))
        return [*self._mended(), AppendAudio(self._decoder.feed(audio))]

    def _start_request(self) -> list[ClientEvent]:
        """Start this request; a request that is still open ends here."""
        is_next = self._open is not None and self._open != self._asked
        ended = self._finish_open() if is_next else self._mended()
        self._open = self._asked
        return [*ended, Commit(is_final=False, tag=self._asked.tag)]

    def _finish_request(self) -> list[ClientEvent]:
        self._require_open("a final commit")
        return self._finish_open()

    def _finish_open(self) -> list[ClientEvent]:
        mended = self._mended()
        tag = self._open.tag if self._open else ""
        self._close()
        return [*mended, Commit(is_final=True, tag=tag)]

    def _cancel(self, payload: Fields) -> list[ClientEvent]:
        """Cancel a request; the answer also comes if nothing was left to cancel."""
        reason = fields.text(payload, "reason", "", longest=_LONGEST_ID)
        mended: list[ClientEvent] = []
        if self._open == self._asked:
            mended = self._mended()
            self._close()
        answer = _envelope("cancelled", self._asked, {"reason": reason or "client_request"})
        return [*mended, Cancel(self._asked.tag), Reply((answer,))]

    def _close(self) -> None:
        self._open = None
        self._decoder.flush()

    def _mended(self) -> list[ClientEvent]:
        """The commit that starts the open request again, if the engine failed on it."""
        if not (self._is_open_broken and self._open):
            return []
        self._is_open_broken = False
        return [Commit(is_final=False, tag=self._open.tag)]

    def _require_open(self, got: str) -> None:
        if self._open != self._asked:
            other = f"request {self._open.request_id!r} is" if self._open else "no request is"
            raise ProtocolError(
                "out_of_order",
                f"got {got} for the request {self._asked.request_id!r}, but {other} being sent;"
                " send input_audio_buffer.commit with final false and that request_id first",
            )

    def _error(self, failure: Failure) -> Message:
        error = failure.error
        if failure.of is not None:
            ids = _ids_of(failure.of)
            self._is_open_broken = self._is_open_broken or ids == self._open
        elif error.close_code is not None:
            ids = _Ids(self._asked.session_id)
        else:
            ids, self._open = self._asked, self._open_before
        return _enveloped(
            ids,
            failure,
            code=YAPS_CODES.get(error.code, error.code),
            reason_code=error.code,
            message=error.public_message,
        )


def _identifier(envelope: Fields, name: str) -> str:
    identifier = fields.text(envelope, name, longest=_LONGEST_ID)
    if not identifier:
        raise ProtocolError("invalid_event", f"got an empty {name!r}; expected a name of your own")
    return identifier


def _ids_of(utterance: Utterance) -> _Ids:
    return _Ids(*json.loads(utterance.tag)) if utterance.tag else _Ids()


def _enveloped(ids: _Ids, event: ServerEvent, **more: str) -> Message:
    """vLLM's fields for an event, in an envelope; `more` replaces its "error"."""
    told = {**(vllm_payload(event) or {}), **more}
    told.pop("error", None)
    return _envelope(told.pop("type"), ids, told)


def _envelope(kind: str, ids: _Ids, payload: Mapping[str, Any] | None = None) -> Message:
    return to_json({"type": kind, **ids._asdict(), "payload": payload or {}})
