"""Every protocol, the same promises: one suite over all the drivers in this folder."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lanscribe.dialects.events import Message
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from lanscribe.errors import CODES
from lanscribe.speech.audio import Samples
from tests.contract import document
from tests.protocols.driver import Driver, Speaker
from tests.protocols.recorder import Line, recording
from tests.servers import Parts, ServeHere, Server
from tests.support import DEADLINE_S, Refused, counting, words


def drivers() -> list[Driver]:
    """One of each class that a *_driver.py here defines."""
    for path in sorted(Path(__file__).parent.glob("*_driver.py")):
        import_module(f"tests.protocols.{path.stem}")
    return [kind() for kind in Driver.__subclasses__()]


DRIVERS = drivers()
CHANNELS = set(document()["channels"])
OVER_WEBSOCKET = [driver for driver in DRIVERS if driver.name in CHANNELS]
OVER_HTTP = [driver for driver in DRIVERS if driver.name != "wyoming"]
every_protocol = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)


@asynccontextmanager
async def speaking(driver: Driver, server: Server) -> AsyncIterator[Speaker]:
    """A speaker whose messages, and the server's, are held to the contract if there is one."""
    if driver.name not in CHANNELS:
        async with asyncio.timeout(DEADLINE_S), driver.connected(server) as speaker:
            yield speaker
        return
    async with asyncio.timeout(DEADLINE_S), recording(server) as recorder:
        async with driver.connected(recorder.server) as speaker:
            yield speaker
        recorder.check(driver.name)


async def say(speaker: Speaker, samples: Samples, chunk_samples: int = 1600) -> tuple[str, str]:
    """One utterance; its deltas joined, and the final text."""
    for start in range(0, len(samples), chunk_samples):
        await speaker.say(samples[start : start + chunk_samples])
    deltas, text = await speaker.end()
    return "".join(deltas), text


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples, _ = soundfile.read(sample_path(), dtype="float32")
    return np.asarray(samples, dtype=np.float32)


@every_protocol
def test_the_same_sound_gives_the_same_words(driver: Driver, fake_server: Server) -> None:
    numbers = [*range(1, 40), 0, 0, 0, *range(500, 520)]

    async def converse() -> tuple[str, str]:
        async with speaking(driver, fake_server) as speaker:
            return await say(speaker, spoken(numbers))

    deltas, text = asyncio.run(converse())
    assert text == counting(numbers)
    if driver.has_deltas:
        assert deltas == text


@every_protocol
def test_one_connection_has_several_utterances(driver: Driver, fake_server: Server) -> None:
    rows = [[1, 2, 3], [4], [0, 0, 5, 6], list(range(100, 130))]

    async def converse() -> list[tuple[str, str]]:
        async with speaking(driver, fake_server) as speaker:
            return [await say(speaker, spoken(row)) for row in rows]

    told = asyncio.run(converse())
    assert [text for _, text in told] == [counting(row) for row in rows]
    if driver.has_deltas:
        assert [deltas for deltas, _ in told] == [text for _, text in told]


@every_protocol
def test_nothing_is_dropped_of_what_comes_faster_than_it_is_said(
    driver: Driver, fake_server: Server
) -> None:
    """A minute and a half in one go."""
    numbers = list(range(1, 1126))

    async def converse() -> tuple[str, str]:
        async with speaking(driver, fake_server) as speaker:
            return await say(speaker, spoken(numbers), 16_000)

    assert asyncio.run(converse())[1] == counting(numbers)


@every_protocol
def test_nonsense_is_answered_and_the_session_goes_on(driver: Driver, fake_server: Server) -> None:
    async def converse() -> tuple[list[str], str]:
        async with asyncio.timeout(DEADLINE_S), driver.connected(fake_server) as speaker:
            codes = [await speaker.send_nonsense()]
            await speaker.say(spoken([1, 2]))
            _, first = await speaker.end()
            codes += [await speaker.send_nonsense()]
            await speaker.say(spoken([3]))
            _, second = await speaker.end()
            return codes, f"{first}, {second}"

    codes, texts = asyncio.run(converse())
    assert texts == "1 2, 3"
    assert set(codes) <= set(CODES)


@pytest.fixture(scope="module")
def heard(embedded_server: Server, speech: Samples) -> dict[str, str]:
    """What each protocol makes of the same real speech."""

    async def converse(driver: Driver) -> str:
        async with speaking(driver, embedded_server) as speaker:
            deltas, text = await say(speaker, speech)
        assert deltas == text or not driver.has_deltas
        return text

    return {driver.name: asyncio.run(converse(driver)) for driver in DRIVERS}


@every_protocol
def test_real_speech_has_the_same_words_in_every_protocol(
    driver: Driver, heard: dict[str, str]
) -> None:
    assert words(heard[driver.name]) == words(heard["vllm"])
    assert words("Try again. Fail again. Fail better.") == words(heard[driver.name])[-6:]


def test_one_more_than_the_machine_holds_is_told_busy(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1})

    async def converse(driver: Driver) -> None:
        async with speaking(driver, server) as first:
            with pytest.raises(Refused) as caught:
                async with driver.connected(server):
                    pass
            assert caught.value.args[1] == CODES["server_busy"].close_code
            assert (await say(first, spoken([1])))[1] == "1"

    for driver in DRIVERS:
        asyncio.run(converse(driver))


@pytest.mark.parametrize(
    ("code", "bound"),
    [
        ("idle_timeout", "idle_timeout_s"),
        ("session_too_long", "session_s"),
    ],
)
def test_what_lasts_too_long_is_told_and_closed(
    serve_here: ServeHere, code: str, bound: str
) -> None:
    """In every protocol, with the last words of an utterance that nobody ended."""
    server = serve_here(limits={bound: 0.5})

    async def converse(driver: Driver) -> Line:
        async with asyncio.timeout(DEADLINE_S), recording(server) as recorder:
            async with driver.connected(recorder.server) as speaker:
                await speaker.say(spoken([1, 2, 3]))
                await recorder.lines[0].is_over.wait()
            recorder.check(driver.name)
        return recorder.lines[0]

    async def converse_in_all() -> list[Line]:
        return await asyncio.gather(*(converse(driver) for driver in OVER_WEBSOCKET))

    for driver, line in zip(OVER_WEBSOCKET, asyncio.run(converse_in_all()), strict=True):
        told = [message for sender, message in line.said if sender == "server"]
        assert line.close_code == CODES[code].close_code, driver.name
        assert is_error(told[-1]), (driver.name, told[-1])
        assert any("1 2 3" in str(message) for message in told), (driver.name, told)


def is_error(message: Message) -> bool:
    return bool(json.loads(message)["type"] == "error")


def test_a_server_without_an_engine_says_so(serve_here: ServeHere) -> None:
    """In every protocol, at once, rather than let a client wait for it."""
    server = serve_here(Parts(engine=None))

    async def converse(driver: Driver) -> None:
        with pytest.raises(Refused) as caught:
            async with speaking(driver, server):
                pass
        assert caught.value.args[1] == CODES["engine_unavailable"].close_code

    for driver in OVER_HTTP:
        asyncio.run(converse(driver))
