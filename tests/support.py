"""A plain client of the realtime protocol, and speech, for the tests."""

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.contract import contract, received

DEADLINE_S = 60
Event = dict[str, Any]


class Refused(Exception):
    """The server would not have this client: its code, its close code."""


class Client:
    """One connection; every wait has a deadline, every message keeps docs/asyncapi.yaml.

    is_ours: whether it is this server; bare vLLM tells less.
    """

    def __init__(self, connection: ClientConnection, *, is_ours: bool = True) -> None:
        self.connection = connection
        self._is_ours = is_ours
        self.greeting: Event = {}

    async def send(self, **event: Any) -> None:
        message = json.dumps(event)
        contract("vllm").check("client", message)
        await self.connection.send(message)

    async def receive(self) -> Event:
        message = await asyncio.wait_for(self.connection.recv(), DEADLINE_S)
        event = received("vllm", message) if self._is_ours else json.loads(message)
        assert isinstance(event, dict)
        return event

    async def select(self, model: str) -> None:
        await self.send(type="session.update", model=model)

    async def append(self, samples: Samples) -> None:
        audio = base64.b64encode(samples_to_pcm16(samples)).decode()
        await self.send(type="input_audio_buffer.append", audio=audio)

    async def commit(self, **final: bool) -> None:
        await self.send(type="input_audio_buffer.commit", **final)

    async def until(self, kind: str) -> list[Event]:
        """Events up to and with the next of type `kind`."""
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def transcribe(self, samples: Samples) -> Event:
        """One whole utterance; its transcription.done."""
        await self.commit(final=False)
        for start in range(0, len(samples), 16_000):
            await self.append(samples[start : start + 16_000])
        await self.commit(final=True)
        return (await self.until("transcription.done"))[-1]

    async def close_code(self) -> int | None:
        """Read to the end; the close code."""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionClosed):
                async for _ in self.connection:
                    pass
        return self.connection.close_code


@asynccontextmanager
async def client(
    url: str, model: str | None = None, *, is_ours: bool = True, **options: Any
) -> AsyncIterator[Client]:
    """A connected client that was greeted and, if `model` is given, has chosen it.

    Raises Refused when the server greets with an error.
    """
    async with connect(url, ping_timeout=None, max_size=None, **options) as connection:
        one = Client(connection, is_ours=is_ours)
        greeting = await one.receive()
        if greeting["type"] == "error":
            raise Refused(greeting["code"], await one.close_code())
        assert greeting["type"] == "session.created"
        one.greeting = greeting
        if model:
            await one.select(model)
        yield one


def get_json(url: str, **headers: str) -> tuple[int, Any]:
    """Status and JSON of what a server answers to GET, a refusal too.

    Raises URLError when there is no server.
    """
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def text_of(events: Sequence[Event]) -> str:
    """What the deltas among `events` say."""
    return "".join(event["delta"] for event in events if event["type"] == "transcription.delta")


def counting(numbers: Sequence[int]) -> str:
    """What the fake engine makes of `spoken(numbers)`."""
    return " ".join(str(number) for number in numbers if number)


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return "".join(one if one.isalnum() else " " for one in text.lower()).split()
