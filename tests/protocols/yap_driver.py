"""Yap's protocol for the conformance suite, on a plain socket."""

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


class YapSpeaker(Speaker):
    """One connection; its requests are r1, r2, ..."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._number = 1
        self._is_started = False

    async def say(self, samples: Samples) -> None:
        """An append of the request in hand, which it starts if need be."""
        await self._start()
        await self.append(self._request_id, samples)

    async def end(self) -> tuple[list[str], str]:
        """A final commit; everything up to transcription.done."""
        await self._start()
        request_id = self._request_id
        await self.commit(request_id, final=True)
        self._number += 1
        self._is_started = False
        events = await self.until("transcription.done")
        assert {event["request_id"] for event in events} == {request_id}
        deltas = [event["payload"]["delta"] for event in events[:-1]]
        return deltas, events[-1]["payload"]["text"]

    async def commit(self, request_id: str, *, final: bool) -> None:
        """Start a request, or end it."""
        await self.send("input_audio_buffer.commit", request_id, final=final)

    async def append(self, request_id: str, samples: Samples) -> None:
        """Audio of a request."""
        audio = base64.b64encode(samples_to_pcm16(samples)).decode()
        await self.send("input_audio_buffer.append", request_id, audio=audio)

    async def send_nonsense(self) -> str:
        """A type that Yap does not know."""
        await self.send("no.such.type", "nonsense")
        (error,) = await self.until("error")
        assert error["request_id"] == "nonsense"
        return str(error["payload"]["reason_code"])

    async def send(self, kind: str, request_id: str, **payload: Any) -> None:
        """One envelope."""
        envelope = {"type": kind, "session_id": "kitchen", "request_id": request_id}
        await self.connection.send(json.dumps({**envelope, "payload": payload}))

    async def receive(self) -> Event:
        """The next envelope."""
        event = received("yap", await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        assert event.keys() == {"type", "session_id", "request_id", "payload"}
        return dict(event)

    async def until(self, kind: str) -> list[Event]:
        """Envelopes up to and with the next of type `kind`."""
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    @property
    def _request_id(self) -> str:
        return f"r{self._number}"

    async def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            await self.commit(self._request_id, final=False)


@asynccontextmanager
async def yap_speaker(server: Server, path: str = "/ws") -> AsyncIterator[YapSpeaker]:
    """A connection that was greeted. Raises Refused."""
    url = f"ws://{server.host}:{server.port}{path}"
    async with connect(url, ping_timeout=None, max_size=None) as connection:
        speaker = YapSpeaker(connection)
        greeting = await speaker.receive()
        if greeting["type"] == "error":
            await asyncio.wait_for(connection.wait_closed(), DEADLINE_S)
            raise Refused(greeting["payload"]["reason_code"], connection.close_code)
        assert greeting["type"] == "session.created"
        yield speaker


class YapDriver(Driver):
    """How to speak Yap's protocol."""

    name = "yap"

    def connected(self, server: Server) -> AbstractAsyncContextManager[YapSpeaker]:
        """A client that was greeted."""
        return yap_speaker(server)
