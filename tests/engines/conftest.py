"""Engines and sound for the tests, loaded once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lanscribe.config import EngineSettings
from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.engine import EmbeddedEngine, read_wave
from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, sample_count

BECKETT = ["ever", "tried", "ever", "failed", "no", "matter"]
BECKETT += ["try", "again", "fail", "again", "fail", "better"]


@pytest.fixture(scope="session")
def embedded_engine() -> Iterator[EmbeddedEngine]:
    """The real engine with the model that setup put in place."""
    engine = EmbeddedEngine.load(EngineSettings(name="embedded"))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """Where base-en is."""
    assert model_store.is_ready("base-en"), "the model is missing; run: bash setup.sh"
    return model_store.model_dir("base-en")


@pytest.fixture(scope="session")
def moonshine(model_folder: Path) -> Moonshine:
    """The real model without an engine around it."""
    return Moonshine(model_folder)


@pytest.fixture(scope="session")
def detector(model_folder: Path) -> VoiceDetector:
    """The real detector of speech."""
    return VoiceDetector(model_folder)


@pytest.fixture(scope="session")
def beckett() -> Samples:
    """Ten seconds of one man reading twelve words, with pauses."""
    return read_wave(model_store.sample_path())


@pytest.fixture(scope="session")
def not_speech() -> dict[str, Samples]:
    """Six seconds each of what nobody says."""
    time_s = np.arange(sample_count(6)) / 16_000
    random = np.random.default_rng(1)
    chord = sum(np.sin(2 * np.pi * pitch * time_s) for pitch in (220, 277.2, 329.6))
    return {
        "silence": np.zeros(len(time_s), dtype=np.float32),
        "white noise": random.normal(0, 0.1, len(time_s)).astype(np.float32),
        "faint noise": random.normal(0, 0.001, len(time_s)).astype(np.float32),
        "hum": (0.3 * np.sin(2 * np.pi * 50 * time_s)).astype(np.float32),
        "chord": (0.1 * chord * (1 + np.sign(np.sin(4 * np.pi * time_s)))).astype(np.float32),
        "clicks": (random.random(len(time_s)) > 0.9995).astype(np.float32),
        "full scale": np.where(np.arange(len(time_s)) % 200 < 100, 1, -1).astype(np.float32),
    }
