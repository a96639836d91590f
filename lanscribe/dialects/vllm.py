"""vLLM's protocol at /v1/realtime (vllm 0.33.0, vllm/entrypoints/speech_to_text/realtime).

JSON in text frames; audio is base64 of 16-bit little-endian PCM, 16 kHz, mono. Beyond vLLM: a
binary frame is raw PCM of the same format, and deltas and done carry times in extra fields.
docs/protocol.md describes both.
"""

import binascii
import json
import math
from collections.abc import Sequence
from typing import Any

from lanscribe.audio import Samples, pcm16_to_samples
from lanscribe.dialects.base import Message
from lanscribe.errors import ProtocolError
from lanscribe.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    Done,
    Failure,
    SelectModel,
    ServerEvent,
    SessionCreated,
)

_PROMPT_TOKEN_S = 0.08
"""Audio that one prompt token stands for in vLLM's usage of a realtime model."""


class VllmDialect:
    """The codec of vLLM's realtime protocol."""

    name = "vllm"

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one frame. Raises ProtocolError with a code of vLLM's."""
        if isinstance(message, bytes):
            return [AppendAudio(_decode_pcm16(message))]
        event = _decode_object(message)
        match event.get("type"):
            case "session.update":
                return [SelectModel(_string(event, "model"))]
            case "input_audio_buffer.append":
                return [AppendAudio(_decode_base64(_string(event, "audio")))]
            case "input_audio_buffer.commit":
                return [Commit(is_final=_flag(event, "final"))]
            case str(unknown):
                raise ProtocolError(
                    "unknown_event",
                    f"got an event of type {unknown[:200]!r}; expected session.update,"
                    " input_audio_buffer.append or input_audio_buffer.commit",
                )
            case other:
                raise ProtocolError(
                    "invalid_event", f"got {_kind(other)} as the type; expected a string"
                )

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event as one text frame."""
        return [json.dumps(_payload(event), ensure_ascii=False, separators=(",", ":"))]


def _payload(event: ServerEvent) -> dict[str, Any]:
    match event:
        case SessionCreated():
            return {
                "type": "session.created",
                "id": event.session_id,
                "created": event.created_unix_s,
            }
        case Delta():
            return {
                "type": "transcription.delta",
                "delta": event.text,
                "end_s": round(event.end_s, 3),
            }
        case Done():
            return {
                "type": "transcription.done",
                "text": event.text,
                "usage": _usage(event),
                "duration_s": round(event.audio_s, 3),
            }
        case Failure():
            return {"type": "error", "error": event.error.public_message, "code": event.error.code}


def _usage(done: Done) -> dict[str, int]:
    prompt_tokens = math.ceil(done.audio_s / _PROMPT_TOKEN_S)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": done.token_count,
        "total_tokens": prompt_tokens + done.token_count,
    }


def _decode_object(message: str) -> dict[str, Any]:
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            "invalid_json", f"got a text frame that is not JSON: {error}; expected a JSON object"
        ) from error
    if not isinstance(event, dict):
        raise ProtocolError(
            "invalid_event",
            f"got {_kind(event)}; expected a JSON object with a type, such as"
            ' {"type":"session.update","model":"..."}',
        )
    return event


def _string(event: dict[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str):
        got = _kind(value) if field in event else "no such field"
        raise ProtocolError(
            "invalid_event", f"{event['type']} needs the field {field!r}, a string; got {got}"
        )
    return value


def _flag(event: dict[str, Any], field: str) -> bool:
    value = event.get(field, False)
    if not isinstance(value, bool):
        raise ProtocolError(
            "invalid_event",
            f"{event['type']} takes the field {field!r}, true or false; got {_kind(value)}",
        )
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _decode_base64(text: str) -> Samples:
    try:
        data = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError as error:
        raise ProtocolError(
            "invalid_audio", f"the audio is not base64: {error}; expected base64 of 16-bit PCM"
        ) from error
    return _decode_pcm16(data)


def _decode_pcm16(data: bytes) -> Samples:
    try:
        return pcm16_to_samples(data)
    except ValueError as error:
        raise ProtocolError(
            "invalid_audio", f"{error}; expected 16-bit little-endian PCM, 16 kHz, mono"
        ) from error
