"""voxmlx's protocol against real servers."""

import asyncio

from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples
from tests.protocols.record import Ran
from tests.protocols.voxmlx_driver import VoxmlxDriver
from tests.servers import Server
from tests.support import counting

DRIVER = VoxmlxDriver()


def test_utterances_one_after_the_other(fake_server: Server, ran: Ran) -> None:
    async def converse() -> None:
        async with DRIVER.connected(fake_server) as one:
            for start in (1, 51):
                for number in range(start, start + 50, 5):
                    await one.say(spoken(range(number, number + 5)))
                deltas, text = await one.end()
                assert "".join(deltas) == text == counting(range(start, start + 50))
            assert await one.end() == ([], "")

    asyncio.run(converse())
    ran("voxmlx", "/v1/realtime", "localvoxtral", "a commit after each chunk, replayed")


def test_clear_forgets_the_utterance(fake_server: Server) -> None:
    async def converse() -> None:
        async with DRIVER.connected(fake_server) as one:
            await one.say(spoken([1, 2]))
            await one.send("input_audio_buffer.clear")
            await one.until("input_audio_buffer.cleared")
            await one.say(spoken([3]))
            assert (await one.end())[1] == "3"

    asyncio.run(converse())


def test_nonsense_is_answered_and_the_session_goes_on(fake_server: Server) -> None:
    async def converse() -> None:
        async with DRIVER.connected(fake_server) as one:
            assert await one.send_nonsense() == "unknown_event"
            await one.say(spoken([9]))
            assert (await one.end())[1] == "9"

    asyncio.run(converse())


def test_speech_comes_while_it_is_sent(embedded_server: Server, beckett: Samples) -> None:
    """Text comes without any commit that means something."""

    async def converse() -> None:
        async with DRIVER.connected(embedded_server) as one:
            for start in range(0, len(beckett), 8_000):
                await one.say(beckett[start : start + 8_000])
            first = (await one.until("response.audio_transcript.delta"))[-1]["delta"]
            deltas, text = await one.end()
            assert first + "".join(deltas) == text
            assert text.lower().startswith("ever tried")

    asyncio.run(converse())
