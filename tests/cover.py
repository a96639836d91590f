"""A pytest plugin: branch coverage of lanscribe by what runs in the processes of the tests.

bash tests/run.sh loads it, and --cover does for the quick tests. It prints which branches nothing
took. A run of all tests fails below the floor in pyproject.toml. It fails too, and so does one of
all quick tests, when a module of decisions is not covered by its own test file
(tests/own_coverage.py). Programs that tests start are not measured.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from coverage import Coverage

from tests import selection

MEASURED = pytest.StashKey[Coverage]()
PLACE = pytest.StashKey[str]()
REPORT = pytest.StashKey[str]()
UNMEASURED = (
    *("browser", "clients", "page"),  # other programs
    *("media/test_matrix.py", "media/test_matrix_flawed.py"),  # what the rest of media/ runs, often
)
"""Tests below tests/ whose own thread is not measured; servers in other threads are.

Measuring takes Python 2.6 times as long, in files that are not of lanscribe too.
"""


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before anything of the package is imported."""
    measured = Coverage(branch=True, source=["lanscribe"], data_suffix=True)
    early_config.stash[MEASURED] = measured
    if not _is_worker(early_config):
        measured.erase()  # what an earlier run has left
    measured.start()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note which test file runs what, but for slow tests."""
    is_slow = item.get_closest_marker("slow")
    place = "slow" if is_slow else selection.place_of(item.nodeid)
    if place != item.config.stash.get(PLACE, ""):
        item.config.stash[PLACE] = place
        item.config.stash[MEASURED].switch_context(place)
    if selection.lies_in(selection.place_of(item.nodeid), UNMEASURED):
        with _unmeasured():
            return (yield)
    return (yield)


@contextmanager
def _unmeasured() -> Iterator[None]:
    """Do not measure this thread for a while."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Write what was measured; once all processes of `pytest -n` have, judge it."""
    result = yield
    config = session.config
    measured = config.stash[MEASURED]
    measured.stop()
    measured.save()
    if not _is_worker(config):
        measured.combine()
        report = StringIO()
        percent = measured.report(file=report, skip_covered=True, show_missing=True)
        faults = _faults(config, measured, percent)
        config.stash[REPORT] = "\n".join([report.getvalue(), *faults, ""])
        session.testsfailed += len(faults)
    return result


def _faults(config: pytest.Config, measured: Coverage, percent: float) -> list[str]:
    """What is too little; nothing when only some tests were asked for."""
    options = config.option
    chosen = options.keyword or options.long or (options.markexpr and not options.quick)
    if chosen or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return []
    from tests import own_coverage  # noqa: PLC0415  it imports the package, so not before start()

    faults = own_coverage.faults(measured)
    floor = measured.config.fail_under
    if percent < floor and not config.option.quick:
        faults.append(f"FAILED: {percent:.1f} % of lanscribe; expected {floor:g} % or more")
    return faults


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the report, above the tests that failed."""
    if REPORT in config.stash:
        terminalreporter.section("branch coverage")
        terminalreporter.write(config.stash[REPORT])
