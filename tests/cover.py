"""A pytest plugin: branch coverage of lanscribe by what runs in the processes of the tests.

bash tests/run.sh --cover loads it. Programs that tests start are not measured.
"""

import pytest
from coverage import Coverage


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before anything of the package is imported; each process of `pytest -n` has a file."""
    measured = Coverage(branch=True, source=["lanscribe"], data_suffix=True)

    def end() -> None:
        measured.stop()
        measured.save()

    measured.start()
    early_config.add_cleanup(end)
