"""Endless sessions on real vLLM: kills and rollovers that show nowhere in the transcript.

The model is real in everything but its weights. They make it say one plain word for each step of
80 ms, by the sound of that moment alone (`tests.vllm.real.checkpoint --forgetful`).
So one session of vLLM itself over the same sound, with nothing in its way, says what every word has
to be, and each word stands for 80 ms of sound: a word too few is sound that was lost, one too many
was said twice.
"""

import asyncio
import json
from collections.abc import Iterator
from functools import partial

import pytest

from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.embedded.vad import load_detector
from lanscribe.engines.vllm import VllmEngine, VllmServer, VllmSession
from lanscribe.server.gateway import Gateway
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.engines.driving import listen, text_of
from tests.servers import Parts, ServeHere
from tests.support import client
from tests.vllm.real.conftest import SEED, RunModule, Serve
from tests.vllm.real.server import BF16_FLAGS
from tests.vllm.real.server import VllmServer as RealVllm
from tests.vllm.real.sound import melody

DEADLINE_S = 600
"""Only so that a hang ends."""
STEP_S = 0.08
PADDING_STEPS = 10
"""Steps of silence that vLLM lets follow the sound; the model says a word for each of them too."""
MAX_MODEL_LEN = 1024
"""About 75 s of sound."""
ANYWHERE = Timing(target_s=22.0, limit_s=22.0, pause_s=10.0)
"""Rollovers in the middle of the sound: a model that never falls silent has no pauses."""


@pytest.fixture(scope="module")
def vllm(
    serve: Serve, run_module: RunModule, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealVllm]:
    """vLLM with the forgetful model; restart it if you kill it."""
    checkpoint = tmp_path_factory.mktemp("forgetful") / "tiny"
    options = ("--out", str(checkpoint), "--seed", str(SEED), "--forgetful")
    run_module("tests.vllm.real.checkpoint", *options)
    with serve(checkpoint, [*BF16_FLAGS, "--max-model-len", str(MAX_MODEL_LEN)]) as server:
        yield server


def server_of(vllm: RealVllm) -> VllmServer:
    return VllmServer(vllm.http_url, vllm.model, MAX_MODEL_LEN)


def undisturbed(vllm: RealVllm, sound: Samples) -> list[str]:
    """What one session of vLLM says: a word for each step of the sound, and for its padding."""
    tokens = asyncio.run(
        listen(VllmEngine(server_of(vllm), LevelDetector()), sound, sample_count(1.0))
    )
    words = text_of(tokens).split()
    assert len(words) == len(tokens) == round(len(sound) / sample_count(STEP_S)) + PADDING_STEPS
    return words


@pytest.mark.parametrize("sound_s", [32, pytest.param(60, marks=pytest.mark.long)])
def test_a_kill_each_ten_seconds_of_live_sound_shows_nowhere(
    vllm: RealVllm, serve_here: ServeHere, sound_s: int
) -> None:
    kills_at_s = range(5, sound_s, 10)
    sound = melody(sound_s, seed=3)
    expected = undisturbed(vllm, sound)
    gateway = serve_here(
        Parts(
            gateway=partial(Gateway, timing=ANYWHERE),
            engine=lambda wanted: VllmEngine(server_of(vllm), load_detector(wanted)),
        )
    )

    async def scenario() -> str:
        kills = list(kills_at_s)
        async with client(gateway.url, vllm.model) as one, asyncio.TaskGroup() as tasks:
            await one.commit(final=False)

            async def speak() -> None:
                """In real time, whatever happens to vLLM."""
                start_s = asyncio.get_running_loop().time()
                step = sample_count(STEP_S)
                for first in range(0, len(sound), step):
                    due_s = start_s + first / SAMPLE_RATE_HZ
                    await asyncio.sleep(due_s - asyncio.get_running_loop().time())
                    await one.append(sound[first : first + step])
                await one.commit(final=True)

            tasks.create_task(speak())
            async with asyncio.timeout(DEADLINE_S):
                while (event := json.loads(await one.connection.recv()))["type"] != (
                    "transcription.done"
                ):
                    assert event["type"] == "transcription.delta", event
                    if kills and event["end_s"] >= kills[0]:
                        del kills[0]
                        tasks.create_task(asyncio.to_thread(vllm.restart))
            assert not kills
            assert event["duration_s"] == sound_s
            return str(event["text"])

    heard = asyncio.run(scenario()).split()
    assert heard == expected
    assert gateway.log.count("engine is resumed") >= len(kills_at_s)


class CountedSession(VllmSession):
    said = 0

    async def __anext__(self) -> Token:
        token = await super().__anext__()
        self.said += 1
        return token


class CountedEngine(VllmEngine):
    """Keeps its sessions."""

    def __init__(self, server: VllmServer) -> None:
        super().__init__(server, LevelDetector())
        self.server = server
        self.sessions: list[CountedSession] = []

    def session(self) -> CountedSession:
        self.sessions.append(CountedSession(self.server))
        return self.sessions[-1]


def test_no_engine_session_gets_longer_than_its_limit(vllm: RealVllm) -> None:
    sound = melody(24.0, seed=4)
    engine = CountedEngine(server_of(vllm))
    limit_s = 6.0
    rollover = Timing(target_s=limit_s, limit_s=limit_s, pause_s=10)
    tokens = asyncio.run(listen(EndlessEngine(engine, rollover), sound, sample_count(1.0)))
    assert text_of(tokens).split() == undisturbed(vllm, sound)
    assert len(engine.sessions) >= 4
    longest = max(one.said for one in engine.sessions)
    assert longest <= limit_s / STEP_S + PADDING_STEPS + 1  # a frame more, by rounding
