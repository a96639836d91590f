"""A talk of the page with a real server, through networks that break: each word comes once."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import SAMPLE_RATE_HZ, samples_to_pcm16
from tests.clients.test_going_on import assert_in_time, cuts
from tests.cutting import Cut, relay
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S

PROGRAM = Path(__file__).parent / "talking.mjs"
NUMBERS = list(range(1, 1_201))
FRAME_SAMPLES = 1_280


@dataclass(frozen=True)
class Talker:
    """A program that sends a file of PCM as the page does."""

    node: str

    async def start(
        self, port: int, file: Path, every_ms: int = 0, pauses: Sequence[int] = ()
    ) -> asyncio.subprocess.Process:
        """Start it; each line of its stderr is a state."""
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(self.node, "--experimental-websocket", "--no-warnings", str(PROGRAM)),
            *(url, str(file), str(every_ms), *map(str, pauses)),
            env=os.environ,
            stdout=pipe,
            stderr=pipe,
        )

    async def talked(
        self, port: int, file: Path, every_ms: int = 0, pauses: Sequence[int] = ()
    ) -> Any:
        """What the page makes of a file of PCM."""
        return await end_of(await self.start(port, file, every_ms, pauses))

    def through(
        self, port: int, file: Path, some: Iterator[Cut], pauses: Sequence[int] = ()
    ) -> Any:
        """The same behind a bad network; `cuts` is how many cuts it met."""

        async def scenario() -> Any:
            async with relay(port, some) as wire:
                told = await self.talked(wire.port, file, pauses=pauses)
                return {**told, "cuts": wire.cuts_made}

        return asyncio.run(scenario())


async def end_of(program: asyncio.subprocess.Process) -> Any:
    """What such a program prints."""
    out, err = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert program.returncode == 0, err.decode()
    return json.loads(out)


def words_of(told: Any) -> list[tuple[str, float, float]]:
    """Its words; each of the fake engine's comes in one piece."""
    pieces = [(one["text"].strip(), one["startS"], one["endS"]) for one in told["pieces"]]
    return [piece for piece in pieces if piece[0]]


@pytest.fixture(scope="session")
def talker(node: str) -> Talker:
    return Talker(node)


@pytest.fixture
def numbers_pcm(tmp_path: Path) -> Path:
    (path := tmp_path / "numbers.pcm").write_bytes(samples_to_pcm16(spoken(NUMBERS)))
    return path


def test_a_talk_is_told_whole(talker: Talker, fake_server: Server, numbers_pcm: Path) -> None:
    told = asyncio.run(talker.talked(fake_server.port, numbers_pcm))
    assert_in_time(words_of(told))
    assert told["states"] == ["connecting", "open", "idle"]
    assert told["kept"] == 0


@pytest.mark.parametrize("seed", range(2))
def test_it_comes_through_a_bad_network_whole(
    talker: Talker, fake_server: Server, numbers_pcm: Path, seed: int
) -> None:
    told = talker.through(fake_server.port, numbers_pcm, cuts(seed, 12))
    assert_in_time(words_of(told))
    assert told["cuts"] >= 8
    assert told["lost"] == []


def test_pauses_end_utterances_and_lose_nothing(
    talker: Talker, fake_server: Server, numbers_pcm: Path
) -> None:
    pauses = [FRAME_SAMPLES * at for at in (100, 101, 640, 1_199)]
    told = talker.through(fake_server.port, numbers_pcm, cuts(7, 6, down=2_000), pauses)
    assert_in_time(words_of(told))


def test_a_session_that_the_server_gave_up_is_begun_anew(
    talker: Talker, serve_here: ServeHere, numbers_pcm: Path
) -> None:
    running = serve_here(resume={"keep_s": 0.001})
    told = talker.through(
        running.port, numbers_pcm, cuts(6, 6, up=200_000, down=20_000, least=1_500)
    )
    assert_in_time(words_of(told))
    assert told["cuts"] >= 3


def test_sessions_that_may_not_last_are_followed_by_others(
    talker: Talker, serve_here: ServeHere, tmp_path: Path
) -> None:
    running = serve_here(limits={"session_s": 0.5})
    (path := tmp_path / "n.pcm").write_bytes(samples_to_pcm16(spoken(NUMBERS[:100])))
    told = asyncio.run(talker.talked(running.port, path, every_ms=20))
    assert [int(text) for text, _, _ in words_of(told)] == NUMBERS[:100]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_is_started_again_goes_on(
    talker: Talker, start_server: StartServer, tmp_path: Path, end: str
) -> None:
    running = start_server("fake")
    (path := tmp_path / "n.pcm").write_bytes(samples_to_pcm16(spoken(NUMBERS[:100])))

    async def scenario() -> Any:
        program = await talker.start(running.port, path, every_ms=20)
        assert program.stderr
        while await asyncio.wait_for(program.stderr.readline(), DEADLINE_S) != b"open\n":
            pass
        await asyncio.to_thread(getattr(running, end))
        await asyncio.to_thread(running.restart)
        return await end_of(program)

    told = asyncio.run(scenario())
    assert [int(text) for text, _, _ in words_of(told)] == NUMBERS[:100]


def test_speech_comes_through_a_bad_network_whole(
    talker: Talker, embedded_server: Server, tmp_path: Path
) -> None:
    samples, rate_hz = soundfile.read(PROJECT_DIR / "models/samples/beckett.wav", dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    (path := tmp_path / "b.pcm").write_bytes(samples_to_pcm16(samples))
    told = talker.through(embedded_server.port, path, cuts(5, 6, up=90_000, down=2_500))
    text = "".join(one["text"] for one in told["pieces"])
    assert text.strip() == "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
