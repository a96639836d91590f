"""Words through real vLLM by a model that knows thirty: seams in speech that is hardly a sound.

The peer is one session of vLLM itself over the same sound, with nothing in its way.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lanscribe.config import EngineSettings
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.embedded.vad import load_detector
from lanscribe.engines.vllm import VllmEngine, VllmServer, VllmSession
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, sample_count
from lanscribe.speech.detection import LevelDetector
from tests.engines.driving import listen, text_of
from tests.vllm.real.conftest import Serve
from tests.vllm.real.server import BF16_FLAGS
from tests.vllm.real.server import VllmServer as RealVllm

WORDS = Path(__file__).parent / "words"
MAX_MODEL_LEN = 1024
SECONDS = 30.0
OFTEN = Timing(target_s=5, limit_s=9)


@pytest.fixture(scope="module")
def vllm(serve: Serve) -> Iterator[RealVllm]:
    """vLLM with the model that knows words."""
    with serve(WORDS, [*BF16_FLAGS, "--max-model-len", str(MAX_MODEL_LEN)]) as server:
        yield server


class CountingEngine(VllmEngine):
    """Counts its sessions."""

    count = 0

    def session(self) -> VllmSession:
        self.count += 1
        return super().session()


def server_of(vllm: RealVllm) -> VllmServer:
    return VllmServer(vllm.http_url, vllm.model, MAX_MODEL_LEN)


def engine_of(vllm: RealVllm) -> CountingEngine:

    return CountingEngine(server_of(vllm), detector=load_detector(EngineSettings(name="vllm")))


def clip(name: str, level_db: float, noise_db: float | None) -> tuple[Samples, list[str]]:
    """The beginning of a clip with its words at a level (RMS), perhaps in noise; its words."""
    samples, _ = soundfile.read(WORDS / f"clips/{name}.flac", dtype="float32")
    samples = samples[: sample_count(SECONDS)]
    spoken = json.loads((WORDS / f"clips/{name}.json").read_text(encoding="utf-8"))
    spoken = [word for word in spoken if word["end_s"] < SECONDS - 1]
    spans = [(word["start_s"], word["end_s"]) for word in spoken]
    voice = [samples[sample_count(start) : sample_count(end)] for start, end in spans]
    level = np.sqrt(np.mean(np.square(np.concatenate(voice))))
    samples = samples * np.float32(10 ** (level_db / 20) / level)
    if noise_db is not None:
        noise = np.random.default_rng(1).normal(0, 10 ** (noise_db / 20), len(samples))
        samples = (samples + noise).astype(np.float32)
    in_16_bits = np.round(np.clip(samples, -1, 1) * 32_767) / 32_768
    return in_16_bits.astype(np.float32), [word["word"] for word in spoken]


@pytest.mark.parametrize(("level_db", "noise_db"), [(-58, None), (-52, None), (-36, -48)])
def test_seams_in_quiet_speech_and_in_noise_add_and_bend_no_word(
    vllm: RealVllm, level_db: float, noise_db: float | None
) -> None:
    sound, words = clip("natural", level_db, noise_db)
    engine = engine_of(vllm)
    bare = text_of(
        asyncio.run(listen(VllmEngine(server_of(vllm), LevelDetector()), sound, SAMPLE_RATE_HZ))
    ).split()
    heard = text_of(asyncio.run(listen(EndlessEngine(engine, OFTEN), sound, 1600))).split()
    assert engine.count > 3
    assert heard == bare
    wrong = sum(one != two for one, two in zip(bare, words, strict=False))
    assert wrong <= (0 if noise_db is None else 1)  # the model itself errs in noise
