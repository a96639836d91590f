"""Which protocol a client at /v1/realtime speaks: vLLM's, OpenAI's or voxmlx's.

All three dial the same path. The greeting serves them all, and the first session.update decides:
a model beside the type means vLLM, a session object means OpenAI, neither means voxmlx. The
rate of earlier audio is unknown until then, so it is kept as it came.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    ClientEvent,
    Failure,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
)
from lanscribe.dialects.fields import Fields, base64_bytes, decode_object, not_empty, text
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.dialects.voxmlx import VoxmlxDialect
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import LimitError, ProtocolError

MAX_UNDECIDED_BYTES = 13_000_000
"""The most data before the first session.update: five minutes of 16 kHz, as base64."""
_MESSAGE_BYTES = 64
"""The memory that a message takes beside its length."""
_EXAMPLE = 'an object with a type, such as {"type":"session.update","model":"..."}'
_DECIDING = ("session.update", "transcription_session.update")


class NegotiatingDialect:
    """The codec of one session, which becomes the codec of its client's protocol.

    Until then errors have vLLM's form, or OpenAI's form if the URL has ?intent=.
    """

    name = "realtime"
    refusal = None

    def __init__(
        self, info: EngineInfo | None = None, query: Mapping[str, str] | None = None
    ) -> None:
        self._vllm = VllmDialect(info, query)
        self._openai = OpenAiDialect(info, query)
        self._voxmlx = VoxmlxDialect(info, query)
        self._has_intent = "intent" in (query or {})
        self._speaker: Dialect = self._openai if self._has_intent else self._vllm
        self._is_decided = False
        self._waiting: list[Message] = []
        self._waiting_bytes = 0
        self._is_full = False
        """Whether the client has been told that its appends are refused."""

    def decode(self, message: Message) -> Iterable[ClientEvent]:
        """Decode one frame. Raises ClientError."""
        if self._is_decided:
            return self._speaker.decode(message)
        if isinstance(message, bytes):
            return self._wait(not_empty(message), len(message) * 4 // 3)
        event = decode_object(message, _EXAMPLE)
        self._openai.answer(event)
        kind = event.get("type")
        if kind in _DECIDING:
            self._speaker = self._dialect_of(event)
            events = self._speaker.decode(message)
            self._is_decided = True
            return chain(events, self._kept())
        if kind == "input_audio_buffer.append":
            self._check(event)
            return self._wait(message, len(message))
        if kind == "input_audio_buffer.clear":
            self._forget()
            return [Reply((self._openai.cleared(),))]
        return self._vllm.decode(message)

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """Encode one event in the client's protocol; the greeting in all three."""
        if not isinstance(event, SessionCreated):
            return self._speaker.encode(event)
        ((openai,), (vllm,)) = self._openai.encode(event), self._vllm.encode(event)
        return [to_json(json.loads(openai) | json.loads(vllm))]

    def _kept(self) -> Iterator[ClientEvent]:
        """The messages that were kept until the first session.update."""
        waiting = self._waiting
        self._forget()
        for kept in waiting:
            try:
                yield from self._speaker.decode(kept)
            except ProtocolError as error:
                yield Reply(tuple(self._speaker.encode(Failure(error))))

    def _dialect_of(self, event: Fields) -> Dialect:
        if event["type"] == "transcription_session.update":
            return self._openai
        if "model" in event:
            return self._vllm
        return self._openai if isinstance(event.get("session"), dict) else self._voxmlx

    def _check(self, event: Fields) -> None:
        """Refuse an append at once if it cannot be audio."""
        audio = base64_bytes(text(event, "audio"))
        if not self._has_intent:
            not_empty(audio)

    def _wait(self, message: Message, size_bytes: int) -> Sequence[ClientEvent]:
        if self._waiting_bytes >= MAX_UNDECIDED_BYTES:
            if self._is_full:
                return []
            self._is_full = True
            raise LimitError(
                "audio_buffer_full",
                f"{self._waiting_bytes} bytes of appends wait for a session.update; this append and"
                " all until then are refused: send session.update first, then append",
            )
        self._waiting.append(message)
        self._waiting_bytes += size_bytes + _MESSAGE_BYTES
        return []

    def _forget(self) -> None:
        self._waiting, self._waiting_bytes, self._is_full = [], 0, False
