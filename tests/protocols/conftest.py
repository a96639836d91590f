"""Speech for the tests of protocols."""

import pytest

from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.engine import read_wave
from lanscribe.speech.audio import Samples


@pytest.fixture(scope="session")
def beckett() -> Samples:
    """Ten seconds of one man reading twelve words, with pauses."""
    return read_wave(model_store.sample_path())
