"""Voxtral through vLLM's own /v1/realtime (vllm 0.32 and 0.33), one WebSocket per utterance.

The model hears in steps of 80 ms, and vLLM sends one delta for each step, with or without text:
the next step needs the token of the last one, so none is ever left out or merged. Hence the number
of deltas tells the time. The first prompt is BOS, the padding and the delay's tokens
(mistral_common 1.13, `encode_streaming_tokens`), so delta k = 0, 1, ... comes after
(1 + delay + k) steps of real audio. Its words were spoken the delay earlier: by the end of step
k + 1, whatever the delay is. A token with text ends there; it begins with that step, 0.08 s before.
A word of several tokens begins with its first token; if a word takes longer to say than to write,
it really began earlier by the difference. A token without text ends where vLLM listens.
"""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.engines.embedded.vad import load_detector
from lanscribe.errors import EngineError, EngineFailed, EngineUnavailable
from lanscribe.speech.audio import (
    SAMPLE_RATE_HZ,
    Samples,
    duration_s,
    sample_count,
    samples_to_pcm16,
)
from lanscribe.speech.detection import SpeechDetector
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Changes
from lanscribe.voxtral.steps import STEP_S

log = logging.getLogger(__name__)

STEP_SAMPLES = sample_count(STEP_S)
LANGUAGES = ("en", "fr", "es", "de", "ru", "zh", "ja", "it", "pt", "nl", "ar", "hi", "ko")
"""From the model card of Voxtral-Mini-4B-Realtime-2602."""
_PADDING_TOKENS = 32 + (30 + 1) + 10 + 2
"""The most of max_model_len: padding before; the longest delay, BOS and a long word after."""
_CHUNK_SAMPLES = SAMPLE_RATE_HZ
_LATE_S = 2.0
"""The most by which the model may write a word later than its delay: a long word comes in pieces,
and words may follow each other closely."""
_MAX_HELD_S = 4.0
"""Audio that vLLM may hold without a delta: the longest delay and a step before the first."""
_MAX_UNHEARD_S = _MAX_HELD_S + 1.0
"""feed() waits while more audio than this is sent and not heard: the caller keeps the rest."""
_MAX_WAITING_MESSAGES = 256
"""More than the deltas of _MAX_UNHEARD_S, so a consumer's pause never stops the socket."""
_UNKNOWN_CAPACITY = 4
"""The full-length sessions in INT4 that fit on 12 GB."""
_MAX_UNKNOWN_TYPES = 20
"""How many types of unknown events are logged."""
_ENGINE_IS_DEAD = "EngineCore encountered an issue"
"""How the message of vllm/v1/engine/exceptions.py begins when the engine process is gone. Until
vLLM notices and ends too, it takes connections and answers every commit with this."""


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A running vLLM."""

    url: str
    """Its address, such as http://127.0.0.1:8001."""
    model: str
    """The name under which it serves the model."""
    max_model_len: int
    """Its limit on the tokens of one session."""
    max_num_seqs: int = 0
    """Its limit on sessions at once; 0 if unknown."""
    delay_s: float = 0.48
    """How far its text is behind the voice."""
    api_key: str = ""
    connect_timeout_s: float = 30.0
    """How long it may take to greet. The caller of a session watches its progress after that."""
    why_down: Callable[[], str | None] = lambda: None
    """Why it does not serve at the moment, if that is known."""


class VllmEngine(Engine):
    """The sessions of one vLLM. Each session has its own connection, so vLLM may stop and start."""

    def __init__(self, server: VllmServer, detector: SpeechDetector, capacity: int = 0) -> None:
        self._server = server
        self._detector = detector
        self._capacity = capacity or server.max_num_seqs or _UNKNOWN_CAPACITY
        self._sessions: set[VllmSession] = set()
        self._unknown: set[str] = set()

    @classmethod
    def load(cls, settings: EngineSettings, *, server: VllmServer) -> Self:
        """Load the detector of speech; `settings.sessions` overrules vLLM's own limit.

        Raises EngineUnavailable.
        """
        held = server.max_num_seqs or _UNKNOWN_CAPACITY
        return cls(server, load_detector(settings), settings.capacity(lambda: held))

    def describe(self) -> EngineInfo:
        """vLLM's facts. Word times are counted in steps of 80 ms, not aligned."""
        steps = max(self._server.max_model_len - _PADDING_TOKENS, 1)
        return EngineInfo(
            name="vllm",
            model=self._server.model,
            languages=LANGUAGES,
            word_times=False,
            max_session_s=duration_s(steps * STEP_SAMPLES),
            capacity=self._capacity,
            delay_s=self._server.delay_s,
            may_go_deaf=True,
        )

    def detector(self) -> SpeechDetector:
        """The detector it was constructed with."""
        return self._detector

    def session(self) -> "VllmSession":
        """A session with a WebSocket of its own."""
        session = VllmSession(self._server, self._sessions.discard, self._log_unknown)
        self._sessions.add(session)
        return session

    def _log_unknown(self, kind: str) -> None:
        """Log an event that is skipped, once for each type; up to _MAX_UNKNOWN_TYPES."""
        if kind not in self._unknown and len(self._unknown) < _MAX_UNKNOWN_TYPES:
            self._unknown.add(kind)
            log.warning(
                "vLLM sends events of the type %.200r, which lanscribe does not know; they are"
                " skipped",
                kind,
            )

    async def close(self) -> None:
        """Abort the open sessions; the supervisor of vLLM ends vLLM itself."""
        for session in list(self._sessions):
            await session.abort()


class VllmSession(EngineSession, AsyncIterator[Token]):
    """One utterance at vLLM."""

    def __init__(
        self,
        server: VllmServer,
        on_end: Callable[["VllmSession"], None] = lambda _: None,
        log_unknown: Callable[[str], None] = lambda _: None,
    ) -> None:
        """log_unknown: called with the type of each event of vLLM's that is not known here."""
        self.usage: Mapping[str, Any] = {}
        """What vLLM counted, once the iteration has ended."""
        self._server = server
        self._on_end = on_end
        self._log_unknown = log_unknown
        self._socket: ClientConnection | None = None
        self._fed_samples = 0
        self._steps = 0
        self._is_first_word = True
        self._is_finished = False
        self._is_over = False
        self._changes = Changes()

    async def start(self) -> None:
        """Connect and begin. Raises EngineUnavailable."""
        server = self._server
        try:
            async with asyncio.timeout(server.connect_timeout_s):
                self._socket = await _connect(server)
                await self._socket.recv()  # session.created
                await self._send(type="session.update", model=server.model)
                await self._send(type="input_audio_buffer.commit", final=False)
        except TimeoutError:
            raise self._unavailable(f"no answer within {server.connect_timeout_s:g} s") from None
        except InvalidStatus as error:
            raise self._unavailable(_refusal(error.response.status_code)) from error
        except (OSError, InvalidHandshake, ConnectionClosed, EngineFailed) as error:
            raise self._unavailable(str(error)) from error

    async def feed(self, samples: Samples) -> None:
        """Send audio, shape (n,); waits while 5 s are unheard.

        Raises RuntimeError after `finish`.
        """
        if self._is_finished:
            raise RuntimeError("feed() after finish()")
        for start in range(0, len(samples), _CHUNK_SAMPLES):
            await self._changes.until(lambda: self._is_over or self._unheard_s < _MAX_UNHEARD_S)
            if self._is_over:
                return
            chunk = samples[start : start + _CHUNK_SAMPLES]
            self._fed_samples += len(chunk)
            audio = base64.b64encode(samples_to_pcm16(chunk)).decode("ascii")
            await self._send(type="input_audio_buffer.append", audio=audio)

    async def finish(self) -> None:
        """Send the final commit; without any audio, end at once."""
        is_first, self._is_finished = not self._is_finished, True
        if not self._fed_samples:
            await self.abort()
        elif is_first and not self._is_over:
            await self._send(type="input_audio_buffer.commit", final=True)

    async def abort(self) -> None:
        """Drop the socket without waiting for a peer that may hang; vLLM frees the slot."""
        self._on_end(self)
        self._is_over = True
        self._changes.tell()  # a waiting feed must not wait for ever
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()

    def __aiter__(self) -> Self:
        """The tokens; one iteration only."""
        return self

    async def __anext__(self) -> Token:
        """The next step's token. Raises EngineFailed, or EngineUnavailable if vLLM is dying."""
        try:
            event = None if self._is_over else await self._receive()
        except BaseException:
            await self.abort()
            raise
        if event is None or event["type"] == "transcription.done":
            self.usage = (event or {}).get("usage") or self.usage
            await self.abort()
            raise StopAsyncIteration
        return await self._hear(str(event["delta"]))

    async def _hear(self, text: str) -> Token:
        self._steps += 1
        self._changes.tell()
        if self._is_first_word:
            text = text.lstrip()
            self._is_first_word = not text
        fed_s = duration_s(self._fed_samples)  # vLLM pads the end with silence, in steps too
        if not text:
            settled_s = max(0.0, self._steps * STEP_S - _LATE_S)
            return Token("", min(self._listened_s, fed_s), settled_s=min(settled_s, fed_s))
        start_s, end_s = (self._steps - 1) * STEP_S, self._steps * STEP_S
        return Token(text, min(end_s, fed_s), start_s=min(start_s, fed_s))

    async def _receive(self) -> Mapping[str, Any] | None:
        """The next delta or done; None when aborted. Raises EngineError."""
        assert self._socket is not None, "iterated before start()"
        try:
            while True:
                message = await self._socket.recv()
                if event := _known_event(message, self._log_unknown):
                    return event
        except ConnectionClosed as error:
            if self._is_over:
                return None
            raise _connection_lost(error) from error

    async def _send(self, **event: object) -> None:
        assert self._socket is not None, "fed before start()"
        try:
            await self._socket.send(json.dumps(event))
        except ConnectionClosed as error:
            if not self._is_over:
                raise _connection_lost(error) from error

    @property
    def _listened_s(self) -> float:
        """How much audio the last delta came after; 0 before the first."""
        return self._server.delay_s + self._steps * STEP_S if self._steps else 0.0

    @property
    def _unheard_s(self) -> float:
        return duration_s(self._fed_samples) - self._listened_s

    def _unavailable(self, reason: str) -> EngineUnavailable:
        known = self._server.why_down()
        return EngineUnavailable(
            f"vLLM does not serve now: {known or f'{self._server.url}: {reason}'};"
            " try again in a few seconds"
        )


async def _connect(server: VllmServer) -> ClientConnection:
    headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    return await connect(
        f"ws{server.url.removeprefix('http')}/v1/realtime",
        additional_headers=headers,
        compression=None,
        proxy=None,
        open_timeout=None,
        ping_interval=None,
        max_queue=_MAX_WAITING_MESSAGES,
        max_size=None,
    )


def _known_event(
    message: str | bytes, on_unknown: Callable[[str], None]
) -> Mapping[str, Any] | None:
    """The delta or done in vLLM's message; None for an event of a type that is not known here.

    Raises EngineError for an error, and for what is no event.
    """
    try:
        event = json.loads(message)
        kind = event["type"]
        if kind == "transcription.delta" and isinstance(event["delta"], str):
            return dict(event)
        if kind == "transcription.done":
            return dict(event)
        if kind == "error":
            raise _error_of(str(event["error"]), str(event.get("code")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EngineFailed(f"got a message outside vLLM's protocol: {message[:200]!r}") from error
    if not isinstance(kind, str) or kind == "transcription.delta":
        raise EngineFailed(f"got a message outside vLLM's protocol: {message[:200]!r}")
    on_unknown(kind)
    return None


def _error_of(text: str, code: str) -> EngineError:
    if code == "model_not_found":
        return EngineFailed(f"vLLM serves another model than before: {text}; start lanscribe again")
    if text.startswith(_ENGINE_IS_DEAD):
        return EngineUnavailable("vLLM's engine process has died; vLLM is started again")
    return EngineFailed(f"vLLM failed on this utterance: {text} ({code}); logs/vllm.log says more")


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return (
            f"it refuses the key (HTTP {status}); set VLLM_API_KEY to the one it was started with"
        )
    return f"it answers HTTP {status} instead of a WebSocket"


def _connection_lost(error: ConnectionClosed) -> EngineFailed:
    return EngineFailed(f"vLLM ended in the middle of the utterance ({error}); it is started again")
