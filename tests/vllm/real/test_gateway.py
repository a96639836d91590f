"""The gateway in front of real vLLM, with a tiny model in 4 bits on the CPU."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from websockets.exceptions import InvalidStatus

from lanscribe import PROJECT_DIR
from lanscribe.engines.vllm import VllmEngine, VllmServer
from lanscribe.speech.detection import LevelDetector
from tests.clients.program import Program
from tests.clients.sound import SoundCard
from tests.engines.driving import drain
from tests.servers import Server, ServerProcess, start_process
from tests.support import Client, Event, Refused, client, get_json, text_of
from tests.vllm.real import server as tiny
from tests.vllm.real.forker import ENVIRONMENT
from tests.vllm.real.sound import melody

DEADLINE_S = 300
STEP_SAMPLES = 1280
MAX_MODEL_LEN = 256
"""About 16 s of audio: so short that its end can be reached."""
PROFILE = f"""
served-model-name: voxtral-tiny
tokenizer-mode: mistral
config-format: mistral
load-format: bitsandbytes
quantization: bitsandbytes
enforce-eager: true
gpu-memory-utilization: 0.3
kv-cache-memory-bytes: 256M
max-model-len: {MAX_MODEL_LEN}
max-num-seqs: 3
distributed-executor-backend: vllm.v1.executor.uniproc_executor.UniProcExecutor
"""


@pytest.fixture(scope="module")
def gateway(
    int4_server: tiny.VllmServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A gateway in front of a vLLM that somebody else runs."""
    url = {"LANSCRIBE_VLLM_URL": int4_server.http_url}
    server = start_process(tmp_path_factory.mktemp("gateway"), "vllm", [], url)
    yield server
    server.end()


def test_the_text_is_vllms_own(int4_server: tiny.VllmServer, gateway: Server) -> None:
    async def scenario() -> tuple[str, list[Event]]:
        sound = melody(6.4, seed=1)
        async with client(int4_server.url, int4_server.model, is_ours=False) as one:
            direct = (await one.transcribe(sound))["text"]
        async with client(gateway.url, int4_server.model) as one:
            await one.commit(final=False)
            await one.append(sound)
            await one.commit(final=True)
            return direct, await one.until("transcription.done")

    direct, events = asyncio.run(scenario())
    done = events[-1]
    assert done["text"] == text_of(events) == direct.lstrip() != ""
    assert done["duration_s"] == 6.4
    times = [event["end_s"] for event in events[:-1] if event["delta"]]
    assert times == sorted(times)
    assert times[-1] <= 6.4


def test_health_tells_what_vllm_holds(gateway: Server) -> None:
    status, health = health_of(gateway)
    assert status == 200
    assert (health["engine"], health["model"], health["capacity"]) == ("vllm", "voxtral-tiny", 4)


def test_several_clients_at_once_do_not_mix(gateway: Server) -> None:
    async def hear(seed: int) -> str:
        async with client(gateway.url, "voxtral-tiny") as one:
            return str((await one.transcribe(melody(3.0, seed)))["text"])

    async def scenario() -> list[str]:
        return await asyncio.gather(*(hear(seed) for seed in (1, 2, 3)))

    async def one_by_one() -> list[str]:
        return [await hear(seed) for seed in (1, 2, 3)]

    together = asyncio.run(scenario())
    assert together == asyncio.run(one_by_one())
    assert len(set(together)) == 3


def test_the_file_client(gateway: Server, tmp_path: Path) -> None:
    wave = tmp_path / "melody.wav"
    soundfile.write(wave, melody(4.8, seed=1), 16_000, subtype="PCM_16")
    command = [sys.executable, str(PROJECT_DIR / "test_file_transcribe.py")]
    ended = subprocess.run(
        [*command, "--audio-path", str(wave), "--url", gateway.url, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["text"]
    assert answer["audio_s"] == 4.8


def test_the_microphone_client(gateway: Server, tmp_path: Path) -> None:
    wave = tmp_path / "melody.wav"
    soundfile.write(wave, melody(3.0, seed=1), 16_000, subtype="PCM_16")
    with SoundCard() as card:
        program = Program(
            "stream_microphone.py", "--url", gateway.url, environment=card.environment,
            in_terminal=False,
        )  # fmt: skip
        try:
            program.err.wait_for("recording from default")
            card.play(wave)
            program.out.wait_until(lambda text: len(text) > 10)
            program.interrupt()
            assert program.wait() == 0, program.err.text
        finally:
            program.kill()


def test_a_client_that_leaves_frees_its_slot(int4_server: tiny.VllmServer, gateway: Server) -> None:
    async def leave() -> None:
        async with client(gateway.url, "voxtral-tiny") as one:
            await one.commit(final=False)
            await one.append(melody(4.0, seed=1))
            await one.until("transcription.delta")
            assert metric(int4_server, "vllm:websocket_connections_active") == 1

    asyncio.run(leave())
    names = ["websocket_connections_active", "num_requests_running", "num_requests_waiting"]
    eventually(lambda: not any(metric(int4_server, f"vllm:{name}") for name in names))


def metric(server: tiny.VllmServer, name: str) -> float:
    """The sum of a gauge in vLLM's metrics."""
    lines = httpx.get(f"{server.http_url}/metrics").text.splitlines()
    values = [line.split()[-1] for line in lines if line.split("{")[0].split()[0] == name]
    assert values, f"vLLM has no metric {name}"
    return sum(float(value) for value in values)


def health_of(server: Server) -> tuple[int, Any]:
    """Status and body of /health."""
    return get_json(f"{server.http_url}/health")


def eventually(condition: Callable[[], bool]) -> None:
    """Ask again and again; what is waited for has no event to wait on."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


# With a vLLM of the gateway's own.


@dataclass
class Own:
    """A gateway that runs its own vLLM."""

    server: Server
    vllm_port: int

    @property
    def vllm_pid(self) -> int:
        (guard,) = children(self.server.pid)
        (vllm,) = children(guard)
        return vllm

    @property
    def core_pid(self) -> int:
        """The process of vLLM that computes."""
        (core,) = (pid for pid in children(self.vllm_pid) if "EngineCore" in command_of(pid))
        return core

    @property
    def key(self) -> str:
        environment = Path(f"/proc/{self.vllm_pid}/environ").read_bytes().split(b"\0")
        (key,) = (one[13:].decode() for one in environment if one.startswith(b"VLLM_API_KEY="))
        return key

    @property
    def engine(self) -> VllmEngine:
        url = f"http://127.0.0.1:{self.vllm_port}"
        return VllmEngine(
            VllmServer(url, "voxtral-tiny", MAX_MODEL_LEN, api_key=self.key), LevelDetector()
        )


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


@pytest.fixture(scope="module")
def own(
    vllm_environment: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Own]:
    """Started once; it ends with the gateway, and leaves nothing behind."""
    folder = tmp_path_factory.mktemp("own")
    profile = folder / "tiny.yaml"
    profile.write_text(PROFILE)
    port = tiny.free_port()
    environment = {
        **ENVIRONMENT,
        "LANSCRIBE_VLLM_PROFILE": str(profile),
        "LANSCRIBE_VLLM_MODEL_DIR": str(tiny_checkpoint),
        "LANSCRIBE_VLLM_PYTHON": str(vllm_environment),
        "LANSCRIBE_VLLM_PORT": str(port),
        "LANSCRIBE_LOG_FILE": str(folder / "lanscribe.log"),
    }
    default_config = str(PROJECT_DIR / "config/lanscribe.toml")
    arguments = ["--config", default_config, "--engine", "vllm"]
    server = ServerProcess(folder / "stderr", arguments=arguments, environment=environment)
    server.start()
    try:
        yield Own(server, port)
        (guard,) = children(server.pid)
        (vllm,) = children(guard)
        group = [vllm, *children(vllm)]
    finally:
        status = server.stop()
    assert status == 0
    assert not [pid for pid in (guard, *group) if Path(f"/proc/{pid}").exists()]


def test_it_tells_how_vllm_comes_up(own: Own) -> None:
    assert "vLLM: loading the weights" in own.server.log
    assert health_of(own.server)[1]["capacity"] == 3


def test_the_key_is_not_on_the_command_line(own: Own) -> None:
    assert len(own.key) == 64
    assert own.key not in command_of(own.vllm_pid)


def test_nobody_reaches_vllm_past_the_gateway(own: Own) -> None:
    async def scenario() -> None:
        async with client(f"ws://127.0.0.1:{own.vllm_port}/v1/realtime", is_ours=False):
            pass

    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(scenario())
    assert caught.value.response.status_code == 401


def test_at_max_model_len_the_iteration_ends_by_itself(own: Own) -> None:
    """And not before what the engine says of itself."""

    async def scenario() -> tuple[float, float]:
        engine = own.engine
        session = engine.session()
        await session.start()
        async with asyncio.timeout(DEADLINE_S):
            listening = asyncio.create_task(drain(session))
            await session.feed(melody(25.0, seed=1))
            tokens = await listening
        longest_s = engine.describe().max_session_s
        assert longest_s is not None
        return tokens[-1].end_s, longest_s

    ended_s, longest_s = asyncio.run(scenario())
    assert longest_s < ended_s < 25


def test_the_longest_session_that_is_promised_comes_out_whole(own: Own) -> None:
    async def scenario() -> tuple[float, float]:
        engine = own.engine
        longest_s = engine.describe().max_session_s or 0.0
        session = engine.session()
        await session.start()
        async with asyncio.timeout(DEADLINE_S):
            listening = asyncio.create_task(drain(session))
            await session.feed(melody(20.0, seed=1)[: round(longest_s * 16_000)])
            await session.finish()
            tokens = await listening
        assert len(tokens) == round(longest_s / 0.08) + 10
        return tokens[-1].end_s, longest_s

    ended_s, longest_s = asyncio.run(scenario())
    assert ended_s == pytest.approx(longest_s)


def test_an_utterance_longer_than_vllm_takes_is_whole(own: Own) -> None:
    async def scenario() -> None:
        async with client(own.server.url, "voxtral-tiny") as one:
            done = await one.transcribe(melody(32.0, seed=1))
        assert done["duration_s"] == 32.0
        assert done["text"]

    asyncio.run(scenario())


@pytest.mark.parametrize("victim", ["server", "core"])
def test_after_a_kill_of_vllm_all_goes_on(own: Own, victim: str) -> None:
    """The utterance that was under way is finished, others wait, and the next is served."""

    async def until_it_speaks(one: Client) -> None:
        while not (await one.receive()).get("delta"):
            pass

    async def scenario() -> None:
        sound = melody(6.4, seed=2)
        async with client(own.server.url, "voxtral-tiny") as one:
            await one.commit(final=False)
            await one.append(sound[:48_000])
            await until_it_speaks(one)
            os.kill(own.vllm_pid if victim == "server" else own.core_pid, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: health_of(own.server)[0] == 503)
            assert health_of(own.server)[1]["status"] == "loading"
            with pytest.raises(Refused):
                async with client(own.server.url):
                    pass
            await one.append(sound[48_000:])
            await one.commit(final=True)
            async with asyncio.timeout(DEADLINE_S):
                event = json.loads(await one.connection.recv())
                while event["type"] == "transcription.delta":
                    event = json.loads(await one.connection.recv())
            assert event["type"] == "transcription.done", event
            assert event["duration_s"] == 6.4
            assert event["text"]
        eventually(lambda: health_of(own.server)[0] == 200)
        async with client(own.server.url, "voxtral-tiny") as another:
            assert (await another.transcribe(sound))["text"]

    asyncio.run(scenario())
