"""voxmlx's realtime protocol on a plain socket, as localvoxtral sends it."""

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


class VoxmlxSpeaker(Speaker):
    """One connection; every chunk is followed by a commit that means nothing."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def receive(self) -> dict[str, Any]:
        event = received("voxmlx", await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        assert isinstance(event, dict)
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Events up to and with the next of type `kind`."""
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def say(self, samples: Samples) -> None:
        audio = base64.b64encode(samples_to_pcm16(samples)).decode()
        await self.send("input_audio_buffer.append", audio=audio)
        await self.send("input_audio_buffer.commit")

    async def end(self) -> tuple[list[str], str]:
        await self.send("input_audio_buffer.commit", final=True)
        *deltas, done = await self.until("response.audio_transcript.done")
        return [event["delta"] for event in deltas], done["text"]

    async def send_nonsense(self) -> str:
        await self.send("nonsense")
        return str((await self.until("error"))[-1]["code"])


class VoxmlxDriver(Driver):
    """Wait for the greeting, send an update without anything in it."""

    name = "voxmlx"

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[VoxmlxSpeaker]:
        headers = {"OpenAI-Beta": "realtime=v1"}
        async with connect(
            server.url, additional_headers=headers, ping_timeout=None, max_size=None
        ) as connection:
            speaker = VoxmlxSpeaker(connection)
            greeting = await speaker.receive()
            if greeting["type"] == "error":
                async with asyncio.timeout(DEADLINE_S):
                    with suppress(ConnectionClosed):
                        await connection.recv()
                raise Refused(greeting["code"], connection.close_code)
            assert greeting["type"] == "session.created"
            await speaker.send("session.update")
            await speaker.until("session.updated")
            yield speaker
