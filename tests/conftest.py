"""Servers for the tests: real processes, started as a user starts them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

PROJECT_DIR = Path(__file__).resolve().parent.parent
DEADLINE_S = 60


@dataclass
class Server:
    """A running `python -m lanscribe serve` on 127.0.0.1."""

    arguments: list[str]
    environment: dict[str, str]
    log_path: Path
    port: int = 0
    banner: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    wyoming_port: int = 0

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/v1/realtime"

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that the process wrote to stderr so far."""
        return self.log_path.read_text(encoding="utf-8")

    def start(self) -> None:
        """Start it, on the same port as before if it ran before; wait until it is ready."""
        command = [sys.executable, "-m", "lanscribe", "serve", "--host", self.host]
        command += ["--port", str(self.port), *self.arguments]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT_DIR,
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._read_banner()

    def restart_in_place(self) -> None:
        """What serve.sh restart does; wait until it is ready again.

        It has the port of its command line, so that has to be one of its own, and not 0.
        """
        self.process.send_signal(signal.SIGUSR1)
        self._read_banner()

    def _read_banner(self) -> None:
        assert self.process.stdout is not None
        self.banner = []
        for line in self.process.stdout:
            self.banner.append(line.rstrip("\n"))
            if line.startswith("  stop"):
                break
        match = re.search(r":(\d+)/v1/realtime", "\n".join(self.banner))
        if not match:
            self.process.wait(DEADLINE_S)
            self.process.stdout.close()
            pytest.fail(f"the server did not start: {self.log}")
        self.port = int(match[1])
        if match := re.search(r"  wyoming .*:(\d+)", "\n".join(self.banner)):
            self.wyoming_port = int(match[1])

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(with_signal)
        status = self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """End it as a crash would."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port, after `stop` or `kill`."""
        self.start()

    def resident_bytes(self) -> int:
        """Its memory (VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024


StartServer = Callable[..., Server]


def _make_server(
    directory: Path, engine: str, flags: list[str], environment: dict[str, str]
) -> Server:
    default_config = str(PROJECT_DIR / "config/lanscribe.toml")
    arguments = ["--config", default_config, "--engine", engine, *flags]
    number = len(list(directory.glob("server*.stderr")))
    environment = {"LANSCRIBE_LOG_FILE": str(directory / f"server{number}.log"), **environment}
    server = Server(arguments, environment, directory / f"server{number}.stderr")
    server.start()
    return server


def _end(server: Server) -> None:
    if server.process.poll() is None:
        server.stop()
    elif server.process.stdout is not None:
        server.process.stdout.close()


@pytest.fixture(scope="session", autouse=True)
def _apart_from_each_other() -> Iterator[None]:
    """Every server, scripts' ones too: a Wyoming port of its own, and no word to the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANSCRIBE_WYOMING_PORT", "0")
        patch.setenv("LANSCRIBE_DISCOVERY_ENABLED", "false")
        yield


def pytest_configure() -> None:
    """Let programs under test meet signals as on a terminal, though nohup or & ignore some.

    What is ignored stays so for whom one starts, what has a handler does not.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """--long: the tests that take minutes, instead of the others."""
    parser.addoption("--long", action="store_true", help="the tests that take minutes, only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take minutes are run alone; of the others, what takes longest goes first."""
    is_long = bool(config.getoption("--long"))
    others = [item for item in items if bool(item.get_closest_marker("long")) != is_long]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)
    items.sort(key=lambda item: "vllm" not in item.path.parts)


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one file share a process, and all of real vLLM's do: one server is enough."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "vllm" if "/vllm/" in path else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Callable[..., None]
) -> LoadScopeScheduling:
    """How `pytest -n` distributes tests to processes."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the fake engine, shared by all tests; do not stop it."""
    server = _make_server(tmp_path_factory.mktemp("fake"), "fake", [], {})
    yield server
    _end(server)


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the embedded engine, shared by all tests; do not stop it."""
    server = _make_server(tmp_path_factory.mktemp("embedded"), "embedded", [], {})
    yield server
    _end(server)


@pytest.fixture(scope="session")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody may use without a key, shared by all tests; do not stop it."""
    environment = {"LANSCRIBE_AUTH_KEY": "a-key-of-the-tests"}
    flags = ["--auth", "key"]
    server = _make_server(tmp_path_factory.mktemp("locked"), "fake", flags, environment)
    yield server
    _end(server)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers of one's own: start_server("fake", "--sessions", "2", LANSCRIBE_X_Y="1")."""
    servers: list[Server] = []

    def start(engine: str = "fake", *flags: str, **environment: str) -> Server:
        servers.append(_make_server(tmp_path, engine, list(flags), environment))
        return servers[-1]

    yield start
    for server in servers:
        _end(server)
