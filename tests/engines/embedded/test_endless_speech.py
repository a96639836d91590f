"""Rollovers through real speech: the same words as without."""

import jiwer
import numpy as np
import pytest

from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.base import Engine, EngineInfo, EngineSession
from lanscribe.engines.embedded.engine import EmbeddedEngine
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import SpeechDetector
from tests.engines.conftest import BECKETT
from tests.engines.driving import hear, words_of

AT_PAUSES = Timing(target_s=3, limit_s=60)
ANYWHERE = Timing(target_s=13, limit_s=13, pause_s=10)
NEVER = Timing(target_s=3600, limit_s=3600, idle_s=1000)
OFTEN_IDLE = Timing(target_s=3600, limit_s=3600, idle_s=4)


@pytest.mark.parametrize("rollover", [AT_PAUSES, ANYWHERE], ids=["at pauses", "anywhere"])
def test_words_at_the_seams_of_real_speech(
    embedded_engine: EmbeddedEngine, beckett: Samples, rollover: Timing
) -> None:
    samples = np.concatenate([beckett] * 4)
    plain = words_of(hear(EndlessEngine(embedded_engine, NEVER), samples))
    rolled = words_of(hear(EndlessEngine(embedded_engine, rollover), samples))
    assert len(plain) > 40
    assert jiwer.wer(" ".join(plain), " ".join(rolled)) <= 0.05


@pytest.mark.parametrize(("gain_db", "noise_db"), [(-30, -90), (0, -60)], ids=["quiet", "noisy"])
def test_words_after_silence_are_whole(
    embedded_engine: EmbeddedEngine, beckett: Samples, gain_db: float, noise_db: float
) -> None:
    """Beckett is at -33 dB: spoken from far away, or in noise that is 27 dB below him."""
    silence = np.zeros(sample_count(8), dtype=np.float32)
    voice = np.concatenate([silence, beckett, silence, beckett, silence])
    noise = np.random.default_rng(1).normal(0, 10 ** (noise_db / 20), len(voice))
    samples = (voice * 10 ** (gain_db / 20) + noise).astype(np.float32)
    engine = CountingEngine(embedded_engine)
    idling = words_of(hear(EndlessEngine(engine, OFTEN_IDLE), samples))
    assert engine.sessions == 3
    assert idling == BECKETT * 2


class CountingEngine(Engine):
    """An engine, and how many sessions were asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sessions = 0

    def describe(self) -> EngineInfo:
        return self._engine.describe()

    def session(self) -> EngineSession:
        self.sessions += 1
        return self._engine.session()

    def detector(self) -> SpeechDetector:
        return self._engine.detector()

    async def close(self) -> None:
        """It is the fixture's to close."""
