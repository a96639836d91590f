"""Node, for the page's modules that touch no document."""

import shutil

import pytest

from tests.protocols import environment


@pytest.fixture(scope="session")
def node() -> str:
    """The machine's Node, or the one that comes with the clients of other projects."""
    if found := shutil.which("node"):
        return found
    with environment.or_skipped():
        return str(environment.node_of_clients(environment.python_of_clients()))
