"""Mistral's protocol for the conformance suite, on a plain socket."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.contract import received
from tests.protocols.driver import Driver, Speaker
from tests.servers import Server
from tests.support import DEADLINE_S, Event, Refused

PATH = "/v1/audio/transcriptions/realtime"
_APPEND_BYTES = 262_144


class MistralSpeaker(Speaker):
    """One session, with audio as the server takes it without a session.update."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, samples: Samples) -> None:
        """Appends, as long as they may be."""
        audio = samples_to_pcm16(samples)
        for start in range(0, len(audio), _APPEND_BYTES):
            encoded = base64.b64encode(audio[start : start + _APPEND_BYTES]).decode()
            await self.send("input_audio.append", audio=encoded)

    async def end(self) -> tuple[list[str], str]:
        """A flush; everything up to transcription.done."""
        await self.send("input_audio.flush")
        events = await self.until("transcription.done")
        deltas = [event for event in events if event["type"] == "transcription.text.delta"]
        return [delta["text"] for delta in deltas], events[-1]["text"]

    async def send_nonsense(self) -> str:
        """A type that Mistral does not know."""
        await self.send("no.such.type")
        return str((await self.until("error"))[-1]["error"]["type"])

    async def send(self, kind: str, **fields: Any) -> None:
        """One message."""
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def receive(self) -> Event:
        """The next message."""
        event = received("mistral", await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        assert isinstance(event, dict)
        return event

    async def until(self, kind: str) -> list[Event]:
        """Messages up to and with the next of type `kind`."""
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events


@asynccontextmanager
async def mistral_speaker(server: Server, model: str = "") -> AsyncIterator[MistralSpeaker]:
    """A session that was created. Raises Refused."""
    url = f"ws://{server.host}:{server.port}{PATH}?model={model}"
    async with connect(url, ping_timeout=None, max_size=None) as connection:
        speaker = MistralSpeaker(connection)
        greeting = await speaker.receive()
        if greeting["type"] == "error":
            await asyncio.wait_for(connection.wait_closed(), DEADLINE_S)
            raise Refused(greeting["error"]["type"], connection.close_code)
        assert greeting["type"] == "session.created"
        yield speaker


class MistralDriver(Driver):
    """How to speak Mistral's protocol."""

    name = "mistral"

    def connected(self, server: Server) -> AbstractAsyncContextManager[MistralSpeaker]:
        """A session that was created."""
        return mistral_speaker(server)
