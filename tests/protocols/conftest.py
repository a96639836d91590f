"""Speech, and Python with clients of other packages, for the tests of protocols."""

from pathlib import Path

import pytest

from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.engine import read_wave
from lanscribe.speech.audio import Samples
from tests.protocols import environment


@pytest.fixture(scope="session")
def beckett() -> Samples:
    """Ten seconds of one man reading twelve words, with pauses."""
    return read_wave(model_store.sample_path())


@pytest.fixture(scope="session")
def client_python() -> Path:
    """A Python that has what requirements/clients.txt names. Skips if it cannot be installed."""
    with environment.or_skipped():
        return environment.python_of_clients()
