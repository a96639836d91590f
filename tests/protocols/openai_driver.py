"""OpenAI's realtime protocol on a plain socket, with manual commits."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.contract import received
from tests.protocols.driver import Driver, Speaker
from tests.servers import Server
from tests.support import DEADLINE_S, Refused

FORMAT = {"type": "audio/pcm", "rate": 16_000}
"""Not OpenAI's 24 kHz, so that every sample arrives as it was."""


class OpenAiSpeaker(Speaker):
    """A transcription session."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def receive(self) -> dict[str, Any]:
        event = received("openai", await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        assert isinstance(event, dict)
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Events up to and with the next whose type ends in `kind`."""
        events = [await self.receive()]
        while not events[-1]["type"].endswith(kind):
            events.append(await self.receive())
        return events

    async def configure(self, **audio_input: Any) -> dict[str, Any]:
        """Update audio.input; the session that holds then."""
        session = {"type": "transcription", "audio": {"input": audio_input}}
        await self.send("session.update", session=session)
        updated: dict[str, Any] = (await self.until("session.updated"))[-1]["session"]
        return updated

    async def append(self, data: bytes) -> None:
        audio = base64.b64encode(data).decode()
        await self.send("input_audio_buffer.append", audio=audio)

    async def say(self, samples: Samples) -> None:
        await self.append(samples_to_pcm16(samples))

    async def end(self) -> tuple[list[str], str]:
        await self.send("input_audio_buffer.commit")
        events = await self.until("transcription.completed")
        deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
        return deltas, events[-1]["transcript"]

    async def send_nonsense(self) -> str:
        await self.send("input_audio_buffer.nonsense", event_id="nonsense")
        error = (await self.until("error"))[-1]["error"]
        assert error["event_id"] == "nonsense"
        return str(error["code"])


class OpenAiDriver(Driver):
    """As OpenAI's clients do: wait for the greeting, update, wait for the answer."""

    name = "openai"

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[OpenAiSpeaker]:
        async with self.greeted(server) as speaker:
            await speaker.configure(format=FORMAT)
            yield speaker

    @asynccontextmanager
    async def greeted(self, server: Server) -> AsyncIterator[OpenAiSpeaker]:
        """A client that was greeted and has not said anything yet."""
        async with self.dialled(server, "?intent=transcription") as speaker:
            greeting = await speaker.receive()
            if greeting["type"] == "error":
                async with asyncio.timeout(DEADLINE_S):
                    with suppress(ConnectionClosed):
                        await speaker.connection.recv()
                raise Refused(greeting["error"]["code"], speaker.connection.close_code)
            assert greeting["type"] == "session.created"
            yield speaker

    @asynccontextmanager
    async def dialled(self, server: Server, query: str) -> AsyncIterator[OpenAiSpeaker]:
        """A client that has not read anything yet."""
        async with connect(server.url + query, ping_timeout=None, max_size=None) as connection:
            yield OpenAiSpeaker(connection)
