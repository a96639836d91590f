"""The protocol of voxmlx's server at /v1/realtime (github.com/T0mSIlver/voxmlx).

JSON in text frames; audio is base64 of 16-bit little-endian PCM, 16 kHz, mono. The client does
not announce the start of an utterance; a final commit ends it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    ClientEvent,
    Commit,
    Delta,
    Done,
    Failure,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.fields import (
    Fields,
    base64_bytes,
    decode_object,
    flag,
    pcm16_decoder,
    text,
    unknown,
)
from lanscribe.dialects.json_text import to_json
from lanscribe.engines.base import EngineInfo

_TIMES = ("start_s", "end_s")


class VoxmlxDialect:
    """The codec of voxmlx's protocol."""

    name = "voxmlx"
    refusal = None

    def __init__(
        self, _info: EngineInfo | None = None, _query: Mapping[str, str] | None = None
    ) -> None:
        self._decoder = pcm16_decoder()

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one frame. Raises ProtocolError."""
        event = decode_object(message, 'an object such as {"type":"session.update"}')
        match text(event, "type"):
            case "session.update":
                return [Reply((_frame({"type": "session.updated"}),))]
            case "input_audio_buffer.append":
                return self._append(event)
            case "input_audio_buffer.commit":
                return self._ended(Commit(is_final=True)) if flag(event, "final") else []
            case "input_audio_buffer.clear":
                return self._ended(Cancel())
            case other:
                raise unknown(
                    other,
                    "session.update, input_audio_buffer.append, input_audio_buffer.commit or"
                    " input_audio_buffer.clear",
                )

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event as one text frame; none if voxmlx has no event for it."""
        payload = _payload(event)
        return [] if payload is None else [_frame(payload)]

    def _append(self, event: Fields) -> Sequence[ClientEvent]:
        samples = self._decoder.feed(base64_bytes(text(event, "audio")))
        return [Commit(is_final=False), AppendAudio(samples)] if len(samples) else []

    def _ended(self, how: ClientEvent) -> Sequence[ClientEvent]:
        self._decoder.flush()
        return [how]


def _payload(event: ServerEvent) -> dict[str, Any] | None:
    match event:
        case SessionCreated():
            return {"type": "session.created"}
        case Delta() if event.text or extras(event):
            told = extras(event, names=_TIMES)
            return {"type": "response.audio_transcript.delta", "delta": event.text, **told}
        case Done():
            told = extras(event, names=_TIMES)
            return {"type": "response.audio_transcript.done", "text": event.text, **told}
        case Cancelled():
            return {"type": "input_audio_buffer.cleared"}
        case Failure():
            return {
                "type": "error",
                "message": event.error.public_message,
                "code": event.error.code,
            }
        case _:
            return None


def _frame(payload: dict[str, Any]) -> str:
    return to_json(payload)
