"""Servers for the tests: real processes, started as a user starts them, and ones in this process.

A process is for what only a process has: signals, a crash, memory, a banner. All else, a bound
above all, is shown faster by a server in a thread, which is the same server.
"""

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.config import EngineSettings, Settings
from lanscribe.engines import load_engine
from lanscribe.engines.base import Engine
from lanscribe.identity import certificates
from lanscribe.identity.certificates import LOOK_EVERY_S, Certificates
from lanscribe.server import transport, wyoming
from lanscribe.server.gateway import Gateway
from lanscribe.server.transport import SecureListener, bind, make_server
from lanscribe.server.trust import Trust
from lanscribe.session.bounds import Bounds
from tests.support import DEADLINE_S


@dataclass
class Server:
    """Where a server is reached, and what it logs."""

    log_path: Path
    host: str = "127.0.0.1"
    port: int = 0
    secure_port: int = 0
    wyoming_port: int = 0
    """0 where there is none, as for TLS."""

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/v1/realtime"

    @property
    def secure_url(self) -> str:
        return f"wss://{self.host}:{self.secure_port}/v1/realtime"

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def log(self) -> str:
        """Everything that it logged so far; of a process, everything that it wrote to stderr."""
        return self.log_path.read_text(encoding="utf-8")

    def resident_bytes(self) -> int:
        """The memory of its process (VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024


@dataclass
class ServerProcess(Server):
    """A running `python -m lanscribe serve`."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    banner: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

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
        if not self._port_in_banner(r"ws://\S*:(\d+)/v1/realtime"):
            self.process.wait(DEADLINE_S)
            self.process.stdout.close()
            pytest.fail(f"the server did not start: {self.log}")
        self.port = self._port_in_banner(r"ws://\S*:(\d+)/v1/realtime")
        self.secure_port = self._port_in_banner(r"wss://\S*:(\d+)/v1/realtime")
        self.wyoming_port = self._port_in_banner(r"  wyoming .*:(\d+)")

    def _port_in_banner(self, pattern: str) -> int:
        match = re.search(pattern, "\n".join(self.banner))
        return int(match[1]) if match else 0

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

    def end(self) -> None:
        """Leave nothing of it, whether it still runs or not."""
        if self.process.poll() is None:
            self.stop()
        elif self.process.stdout is not None:
            self.process.stdout.close()


def start_process(
    directory: Path, engine: str, flags: list[str], environment: dict[str, str]
) -> ServerProcess:
    """A new process with these flags and variables, whose logs lie in `directory`."""
    default_config = str(PROJECT_DIR / "config/lanscribe.toml")
    arguments = ["--config", default_config, "--engine", engine, *flags]
    number = len(list(directory.glob("server*.stderr")))
    environment = {"LANSCRIBE_LOG_FILE": str(directory / f"server{number}.log"), **environment}
    log_path = directory / f"server{number}.stderr"
    server = ServerProcess(log_path, arguments=arguments, environment=environment)
    server.start()
    return server


@dataclass(frozen=True)
class Parts:
    """What a server in this process is made of; a test binds further arguments by `partial`."""

    gateway: Callable[..., Gateway] = Gateway
    web: Callable[..., transport.Server] = make_server
    engine: Callable[[EngineSettings], Engine] | None = load_engine
    """None: it goes on loading."""
    look_every_s: float = LOOK_EVERY_S
    """How often its certificates are looked at."""


APART: Mapping[str, Mapping[str, Any]] = {
    "server": {"host": "127.0.0.1", "port": 0},
    "engine": {"name": "fake"},
    "wyoming": {"port": 0},
    "discovery": {"enabled": False},
    "tls": {"mode": "off"},
    "log": {"file": ""},
}
"""Settings of a server in this process, where a test says nothing else."""


class SettingsHere(Settings):
    """Settings with the bounds that only tests change, in the table `limits`."""

    limits: Bounds = Bounds()


@dataclass
class ServerHere(Server):
    """A server in a thread of this process, with an event loop of its own."""

    settings: Settings = field(default_factory=Settings)
    parts: Parts = field(default_factory=Parts)

    def start(self) -> None:
        """Start it; wait until it is ready. Raises what keeps it from that."""
        self._is_ready = threading.Event()
        self._error: BaseException | None = None
        self._name = f"server-{id(self):x}"
        self._thread = threading.Thread(target=self._run, name=self._name)
        self._begin_log()
        self._thread.start()
        self._is_ready.wait(DEADLINE_S)
        if self._error:
            self.stop()

    def stop(self) -> None:
        """End it as a signal would, and wait for that. Raises what it failed with."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._web.stop(at_once=False))
        self._thread.join(DEADLINE_S)
        self._end_log()
        assert not self._thread.is_alive(), "it did not stop"
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            self._error = error
        finally:
            self._is_ready.set()

    async def _serve(self) -> None:
        """As lanscribe.admin.serving does, without a process around it."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix=self._name))
        settings = self.settings
        engine = self.parts.engine(settings.engine) if self.parts.engine else None
        shown = certificates.of(settings)
        listener, secure, trust = self._listen(shown)
        gateway = self.parts.gateway(settings, trust=trust)
        self._web = self.parts.web(
            gateway.app(), settings.limits, gateway.drain, secure, proxies=settings.auth.proxies
        )
        async with (
            certificates.followed(shown, self.parts.look_every_s),
            wyoming.serving(gateway, settings) as wyoming_port,
        ):
            self.wyoming_port = wyoming_port or 0
            if engine:
                gateway.engine_loaded(engine)
            serving = asyncio.create_task(self._web.serve([listener]))
            while not self._web.started and not serving.done():
                await asyncio.sleep(0)
            self._is_ready.set()
            try:
                await serving
            finally:
                gateway.close()
        if engine:
            await engine.close()

    def _listen(
        self, shown: Certificates | None
    ) -> tuple[Any, SecureListener | None, Trust | None]:
        settings, secure, trust = self.settings, None, None
        listener = bind(settings.server.host, settings.server.port)
        self.port = listener.getsockname()[1]
        if shown:
            shown.look()
            secure = SecureListener(bind(settings.server.host, settings.tls.port), shown.context)
            self.secure_port = secure.port
            trust = Trust(shown, self.secure_port)
        return listener, secure, trust

    def _begin_log(self) -> None:
        self._handler = logging.FileHandler(self.log_path, encoding="utf-8")
        self._handler.addFilter(lambda record: (record.threadName or "").startswith(self._name))
        self._handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
        logging.getLogger().addHandler(self._handler)
        self._logger = logging.getLogger("lanscribe")
        self._level = self._logger.level
        self._logger.setLevel(self.settings.log.level.upper())

    def _end_log(self) -> None:
        self._logger.setLevel(self._level)
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


def start_here(
    directory: Path, parts: Parts | None, tables: Mapping[str, Mapping[str, Any]]
) -> ServerHere:
    """A new server in this process with these settings, table by table; its log in `directory`."""
    merged = {name: {**APART.get(name, {}), **tables.get(name, {})} for name in {*APART, *tables}}
    merged["server"].setdefault("state_dir", str(directory / "state"))
    number = len(list(directory.glob("here*.log")))
    settings = SettingsHere.model_validate(merged)
    server = ServerHere(directory / f"here{number}.log", settings=settings)
    server.parts = parts or server.parts
    server.start()
    return server


def forkers() -> list[int]:
    """The processes that fork decoders for the servers in this process."""
    return [pid for pid in _children(os.getpid()) if _decodes(pid)]


def workers() -> list[int]:
    """The processes that decode for the servers in this process."""
    return [pid for forker in forkers() for pid in _children(forker)]


def _children(parent: int) -> list[int]:
    """Those that run, and those that have ended and are not waited for yet."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (path / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.name))
    return sorted(found)


def _decodes(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return False
    return "lanscribe.media" in command or "tests.media" in command


StartServer = Callable[..., ServerProcess]
ServeHere = Callable[..., ServerHere]
