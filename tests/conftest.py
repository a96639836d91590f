"""Servers that tests share or start, and which tests run where."""

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from lanscribe import PROJECT_DIR
from tests import selection
from tests.protocols import record
from tests.protocols.record import Ran, Row, version_of
from tests.servers import (
    Parts,
    ServeHere,
    ServerHere,
    ServerProcess,
    StartServer,
    forkers,
    start_here,
    start_process,
)


@pytest.fixture(scope="session", autouse=True)
def _apart_from_each_other() -> Iterator[None]:
    """Every server, scripts' ones too: its own ports, no certificate, no word to the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANSCRIBE_WYOMING_PORT", "0")
        patch.setenv("LANSCRIBE_DISCOVERY_ENABLED", "false")
        patch.setenv("LANSCRIBE_TLS_MODE", "off")
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Prepare for the quick run or the whole one, and for signals."""
    is_quick, is_long = bool(config.getoption("--quick")), bool(config.getoption("--long"))
    # No deadline: a busy machine is no fault. The long run tries examples that no run before did.
    settings.register_profile("whole", deadline=None, derandomize=not is_long)
    settings.register_profile("quick", deadline=None, derandomize=True, max_examples=20)
    settings.load_profile("quick" if is_quick else "whole")
    if is_quick:
        config.option.markexpr = "not slow"
    _meet_signals_as_on_a_terminal()


def _meet_signals_as_on_a_terminal() -> None:
    """Let programs under test do so, though nohup or & ignore some signals.

    What is ignored stays so for whom one starts, what has a handler does not.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """--long: the tests that take minutes, instead of the others; --quick: none that are slow;
    --record: see tests/protocols/record.py."""
    parser.addoption("--long", action="store_true", help="the tests that take minutes, only")
    parser.addoption("--record", action="store_true", help="write docs/protocol.md")
    parser.addoption("--quick", action="store_true", help="no test that is slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the quick run the import of files that it does not run."""
    place = collection_path.relative_to(PROJECT_DIR).as_posix().removeprefix("tests/")
    is_slow = bool(config.getoption("--quick")) and selection.lies_in(place, selection.SLOW_PLACES)
    return True if is_slow else None  # None: as it would be otherwise


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take minutes are run alone; of the others, what takes longest goes first."""
    is_long = bool(config.getoption("--long"))
    others = [item for item in items if bool(item.get_closest_marker("long")) != is_long]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)
    for item in items:
        place, fixtures = selection.place_of(item.nodeid), set(getattr(item, "fixturenames", ()))
        if selection.is_slow(place, fixtures):
            item.add_marker("slow")
    items.sort(key=lambda item: selection.rank(selection.place_of(item.nodeid)))


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one file share a process, and those of real vLLM do."""

    def _split_scope(self, nodeid: str) -> str:
        return selection.scope(selection.place_of(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Callable[..., None]
) -> LoadScopeScheduling:
    """How `pytest -n` distributes tests to processes."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHere]:
    """A server in this process with the fake engine, shared by all tests; do not stop it."""
    server = start_here(tmp_path_factory.mktemp("fake"), None, {})
    yield server
    server.stop()
    assert not forkers()


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the embedded engine, shared by all tests; do not stop it."""
    server = start_process(tmp_path_factory.mktemp("embedded"), "embedded", [], {})
    yield server
    server.end()


@pytest.fixture(scope="session")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that nobody may use without a key, shared by all tests; do not stop it."""
    environment = {"LANSCRIBE_AUTH_KEY": "a-key-of-the-tests"}
    flags = ["--auth", "key"]
    server = start_process(tmp_path_factory.mktemp("locked"), "fake", flags, environment)
    yield server
    server.end()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start processes of one's own: start_server("fake", "--sessions", "2", LANSCRIBE_X_Y="1")."""
    servers: list[ServerProcess] = []

    def start(engine: str = "fake", *flags: str, **environment: str) -> ServerProcess:
        servers.append(start_process(tmp_path, engine, list(flags), environment))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def serve_here(tmp_path: Path) -> Iterator[ServeHere]:
    """Start servers in this process: serve_here(engine={"sessions": 2}, limits={"lag_s": 1.0})."""
    servers: list[ServerHere] = []
    before = forkers()

    def start(parts: Parts | None = None, **tables: Mapping[str, Any]) -> ServerHere:
        servers.append(start_here(tmp_path, parts, tables))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
    assert set(forkers()) <= set(before)


@pytest.fixture
def ran(request: pytest.FixtureRequest) -> Ran:
    """Tell, at the end of a test, which client did what: ran("OpenAI", path, "openai", "talks").

    Fails if docs/protocol.md does not say so.
    """
    test = request.path.relative_to(PROJECT_DIR / "tests").as_posix()

    def tell(protocol: str, path: str, client: str, did: str) -> None:
        row = Row(protocol, f"`{path}`", client, version_of(client), did, test)
        record.tell(row, record.DOCUMENT, is_recording=bool(request.config.getoption("--record")))

    return tell
