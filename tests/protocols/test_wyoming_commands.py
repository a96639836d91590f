"""Commands that the server ends, through Wyoming's own client, with real speech."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

from lanscribe.speech.audio import Samples
from tests.protocols.record import Ran
from tests.protocols.test_mistral_turns import room
from tests.protocols.test_wyoming import SAID, client_of, pcm16, text_of, transcript, until
from tests.servers import Server, start_process
from tests.support import words

FIRST_WORDS = round(1.7 * 16_000)
"""Up to here the recording has two words."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that ends commands after 0.7 s, and gives plain text."""
    settings = {"LANSCRIBE_WYOMING_END_SILENCE_S": "0.7", "LANSCRIBE_WYOMING_STYLE": "plain"}
    server = start_process(tmp_path_factory.mktemp("commands"), "embedded", [], settings)
    yield server
    server.end()


async def speak(client: AsyncTcpClient, samples: Samples) -> None:
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(16_000, 2, 1).event())
    for chunk in pcm16(samples):
        await client.write_event(chunk.event())


def test_the_server_ends_a_command_and_ignores_what_follows(
    server: Server, beckett: Samples, ran: Ran
) -> None:
    command = np.concatenate([room(0.5), beckett[:FIRST_WORDS], room(1.5)])

    async def converse() -> None:
        async with client_of(server) as client:
            await client.write_event(Describe().event())
            info = Info.from_event((await until(client, "info"))[-1])
            assert info.asr[0].requires_external_vad is False
            for _ in "12":
                await speak(client, np.concatenate([command, beckett]))  # and no audio-stop
                text = text_of(await until(client, "transcript-stop"))
                assert text.lower().split() == SAID.split()[:2]
                await client.write_event(AudioStop().event())

    asyncio.run(converse())
    ran("Wyoming", "port 10300", "wyoming", "commands that the server ends, in plain text")


def test_a_client_may_still_end_a_command(server: Server, beckett: Samples) -> None:
    async def converse() -> None:
        async with client_of(server) as client:
            events = await transcript(client, pcm16(beckett[:FIRST_WORDS]))
            assert words(text_of(events)) == SAID.split()[:2]
            assert text_of(await transcript(client, pcm16(room(1)))) == ""
            await client.write_event(AudioStop().event())
            assert text_of(await until(client, "transcript-stop")) == ""

    asyncio.run(converse())
