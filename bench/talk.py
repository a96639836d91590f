"""Sends and times one utterance over a protocol of the server; for load and warm-up."""

import argparse
import asyncio
import base64
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import soundfile
import soxr  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, samples_to_pcm16

DEFAULT_URL = "ws://127.0.0.1:8000"
TROUBLE = (OSError, WebSocketException, TimeoutError, ValueError)
"""The errors of a connection to a server, besides `Refused`."""
_FAST_CHUNK_S = 1.0
_LIVE_CHUNK_S = 0.1
_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
Message = dict[str, Any]


class Refused(Exception):
    """The server answered with an error; its code."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How to send one utterance, and where to find its text in the answers."""

    path: str
    opening: Callable[[str], Sequence[Message]]
    """The messages before the audio, for a model ("" for the one served)."""
    append: Callable[[str], Message]
    """The message for audio in base64."""
    ending: Sequence[Message]
    delta: Callable[[Message], str]
    """The text of a delta; "" for any other message."""
    code: Callable[[Message], str]
    """The code of an error."""
    done: Callable[[Message], str]
    """The text of transcription.done."""


def _yap(kind: str, **payload: object) -> Message:
    return {"type": kind, "session_id": "bench", "request_id": "r1", "payload": payload}


PROTOCOLS: Mapping[str, Protocol] = {
    "vllm": Protocol(
        path="/v1/realtime",
        opening=lambda model: [
            {"type": "session.update", "model": model},
            {"type": "input_audio_buffer.commit", "final": False},
        ],
        append=lambda audio: {"type": "input_audio_buffer.append", "audio": audio},
        ending=[{"type": "input_audio_buffer.commit", "final": True}],
        delta=lambda event: event["delta"] if event["type"] == "transcription.delta" else "",
        code=lambda event: event["code"],
        done=lambda event: event["text"],
    ),
    "yap": Protocol(
        path="/ws",
        opening=lambda model: [
            _yap("session.update", model=model),
            _yap("input_audio_buffer.commit", final=False),
        ],
        append=lambda audio: _yap("input_audio_buffer.append", audio=audio),
        ending=[_yap("input_audio_buffer.commit", final=True)],
        delta=lambda event: event["payload"].get("delta", ""),
        code=lambda event: event["payload"]["code"],
        done=lambda event: event["payload"]["text"],
    ),
    "mistral": Protocol(
        path="/v1/audio/transcriptions/realtime",
        opening=lambda _model: [],
        append=lambda audio: {"type": "input_audio.append", "audio": audio},
        ending=[{"type": "input_audio.flush"}],
        delta=lambda event: event["text"] if event["type"] == "transcription.text.delta" else "",
        code=lambda event: f"{event['error']['code']} {event['error'].get('type', '')}".strip(),
        done=lambda event: event["text"],
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """The server, the protocol and the speed."""

    url: str
    protocol: Protocol
    model: str
    api_key: str
    """Empty for none."""
    is_live: bool
    """Whether audio is sent at the speed of speech."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One utterance; seconds from its first audio, except for the last field."""

    text: str
    first_text_s: float
    end_s: float
    after_audio_s: float
    """From the last audio sent to the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every command with a server has."""
    parser.add_argument("--url", default=DEFAULT_URL, help="ws://HOST:PORT (%(default)s)")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="vllm")
    parser.add_argument("--model", default="", help="for servers that require it")
    parser.add_argument("--api-key", default=os.environ.get("LANSCRIBE_API_KEY", ""))
    parser.add_argument("--audio", type=Path, help="a sound file; default: the model's own 10 s")
    parser.add_argument("--live", action="store_true", help="send at the speed of speech")
    parser.add_argument("--timeout-s", type=float, default=120.0, help="of one utterance")


def target(options: argparse.Namespace) -> Target:
    """The server that the arguments name."""
    protocol = PROTOCOLS[options.protocol]
    parts = urlsplit(options.url if "://" in options.url else f"ws://{options.url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    query = f"?model={quote(options.model)}" if options.model else ""
    url = f"{scheme}://{parts.netloc}{protocol.path}{query}"
    return Target(url, protocol, options.model, options.api_key, options.live)


def read_sound(path: Path | None) -> Samples:
    """A file as shape (n,), 16 kHz; the model's own sample if no file is given."""
    samples, rate_hz = soundfile.read(path or sample_path(), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)


async def transcribe(to: Target, samples: Samples) -> Outcome:
    """Send one utterance over a new connection. Raises Refused, or one of TROUBLE."""
    headers = {"Authorization": f"Bearer {to.api_key}"} if to.api_key else {}
    async with connect(
        to.url, additional_headers=headers, ping_timeout=None, max_size=None
    ) as connection:
        await _greeting(connection, to.protocol)
        started_s = time.monotonic()
        sender = asyncio.create_task(_send(connection, to, samples_to_pcm16(samples)))
        try:
            text, first_s = await _listen(connection, to.protocol)
            ended_s = time.monotonic()
            sent_s = await sender
        finally:
            sender.cancel()
    return Outcome(text, first_s - started_s, ended_s - started_s, ended_s - sent_s)


async def _greeting(connection: ClientConnection, protocol: Protocol) -> None:
    event = json.loads(await connection.recv())
    if event["type"] == "error":
        raise Refused(protocol.code(event))


async def _send(connection: ClientConnection, to: Target, audio: bytes) -> float:
    """Send the audio; return the time at which the last chunk was sent."""
    for message in to.protocol.opening(to.model):
        await connection.send(json.dumps(message))
    chunk_s = _LIVE_CHUNK_S if to.is_live else _FAST_CHUNK_S
    chunk_bytes = round(chunk_s * _BYTES_PER_S)
    started_s = time.monotonic()
    for number, start in enumerate(range(0, len(audio), chunk_bytes), 1):
        if to.is_live:  # a microphone has a chunk only at its end
            await asyncio.sleep(started_s + number * chunk_s - time.monotonic())
        chunk = base64.b64encode(audio[start : start + chunk_bytes]).decode()
        await connection.send(json.dumps(to.protocol.append(chunk)))
    sent_s = time.monotonic()
    for message in to.protocol.ending:
        await connection.send(json.dumps(message))
    return sent_s


async def _listen(connection: ClientConnection, protocol: Protocol) -> tuple[str, float]:
    """The text, and the time of its first piece (of the end, if it is empty)."""
    first_s = 0.0
    while True:
        event = json.loads(await connection.recv())
        if event["type"] == "error":
            raise Refused(protocol.code(event))
        is_done = event["type"] == "transcription.done"
        if not first_s and (is_done or protocol.delta(event)):
            first_s = time.monotonic()
        if is_done:
            return protocol.done(event), first_s
