"""A pytest plugin: branch coverage of lanscribe by what runs in the processes of the tests.

bash tests/run.sh loads it. It prints which branches nothing took, and a whole run fails below the
floor in pyproject.toml. Programs that tests start are not measured.
"""

from collections.abc import Iterator
from io import StringIO

import pytest
from coverage import Coverage

MEASURED = pytest.StashKey[Coverage]()
REPORT = pytest.StashKey[str]()


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before anything of the package is imported."""
    measured = Coverage(branch=True, source=["lanscribe"], data_suffix=True)
    early_config.stash[MEASURED] = measured
    if not _is_worker(early_config):
        measured.erase()  # what an earlier run has left
    measured.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Write what was measured; once all processes of `pytest -n` have, judge it."""
    result = yield
    config = session.config
    measured = config.stash[MEASURED]
    measured.stop()
    measured.save()
    if not _is_worker(config):
        percent = _combined(config, measured)
        floor = 0.0 if config.getoption("--quick") else measured.config.fail_under
        if percent < floor:
            config.stash[REPORT] += f"FAILED: {percent:.1f} % is below the floor of {floor:g} %\n"
            session.testsfailed += 1
    return result


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _combined(config: pytest.Config, measured: Coverage) -> float:
    """How many percent all processes together have run; keeps the report."""
    measured.combine()
    report = StringIO()
    percent = measured.report(file=report, skip_covered=True, show_missing=True)
    config.stash[REPORT] = report.getvalue()
    return percent


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the report, above the tests that failed."""
    if REPORT in config.stash:
        terminalreporter.section("branch coverage")
        terminalreporter.write(config.stash[REPORT])
