"""Speech for the tests of protocols."""

import pytest

from lanscribe.audio import Samples
from lanscribe.engines import model_store
from lanscribe.engines.embedded import read_wave


@pytest.fixture(scope="session")
def beckett() -> Samples:
    """Ten seconds of one man reading twelve words, with pauses."""
    return read_wave(model_store.sample_path())
