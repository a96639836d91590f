"""vLLM's protocol for the conformance suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lanscribe.speech.audio import Samples
from tests.protocols.driver import Driver, Speaker
from tests.servers import Server
from tests.support import Client, client


class VllmSpeaker(Speaker):
    """One connection that starts an utterance when there is something to say."""

    def __init__(self, one: Client) -> None:
        self._client = one
        self._is_started = False

    async def say(self, samples: Samples) -> None:
        """An append, after the commit that starts the utterance."""
        if not self._is_started:
            await self._client.commit(final=False)
            self._is_started = True
        await self._client.append(samples)

    async def end(self) -> tuple[list[str], str]:
        """A final commit."""
        await self._client.commit(final=True)
        self._is_started = False
        *deltas, done = await self._client.until("transcription.done")
        return [delta["delta"] for delta in deltas], done["text"]

    async def send_nonsense(self) -> str:
        """A type that vLLM does not know."""
        await self._client.connection.send('{"type":"no.such.type"}')
        (error,) = await self._client.until("error")
        return str(error["code"])


class VllmDriver(Driver):
    """How to speak vLLM's protocol."""

    name = "vllm"

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[VllmSpeaker]:
        """A client that has chosen the model served."""
        async with client(server.url) as one:
            await one.select("")
            yield VllmSpeaker(one)
