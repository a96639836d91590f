"""Rollovers through real speech: the same words as without."""

import jiwer
import numpy as np
import pytest

from lanscribe.audio import Samples
from lanscribe.config import RolloverSettings
from lanscribe.endless import EndlessEngine
from lanscribe.engines.embedded import EmbeddedEngine
from tests.engines.driving import hear, words_of

AT_PAUSES = RolloverSettings(target_s=3, limit_s=60)
ANYWHERE = RolloverSettings(target_s=13, limit_s=13, pause_s=10)
NEVER = RolloverSettings(target_s=3600, limit_s=3600)


@pytest.mark.parametrize("rollover", [AT_PAUSES, ANYWHERE], ids=["at pauses", "anywhere"])
def test_words_at_the_seams_of_real_speech(
    embedded_engine: EmbeddedEngine, beckett: Samples, rollover: RolloverSettings
) -> None:
    samples = np.concatenate([beckett] * 4)
    plain = words_of(hear(EndlessEngine(embedded_engine, NEVER), samples))
    rolled = words_of(hear(EndlessEngine(embedded_engine, rollover), samples))
    assert len(plain) > 40
    assert jiwer.wer(" ".join(plain), " ".join(rolled)) <= 0.05
