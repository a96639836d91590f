"""Start, stop, restart and kill in any order and at any moment: nothing is left behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.admin import control, machine, records
from tests.clients.test_file_client import refused_port
from tests.projects import copy_project

DEADLINE_S = 120
ACTIONS = ("start", "start", "stop", "restart", "restart and stop", "restart twice", "kill")


class Box:
    """A machine with one project folder and one port."""

    def __init__(self, project: Path, command: Sequence[str], rng: Random, drain_s: float) -> None:
        self.port = refused_port()
        self._command = [sys.executable, *command, *self._flags(command)]
        self._environ = {
            **os.environ,
            "PYTHONPATH": str(project),
            "PORT": str(self.port),
            "DRAIN_S": str(drain_s),
            "LANSCRIBE_LOG_FILE": str(project / "server.log"),
        }
        self._project, self._rng = project, rng
        self.servers: list[subprocess.Popen[bytes]] = []

    def _flags(self, command: Sequence[str]) -> list[str]:
        if "serve" not in command:
            return []
        return ["--engine", "fake", "--host", "127.0.0.1", "--port", str(self.port)]

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [one for one in self.servers if one.poll() is None]

    @property
    def runs(self) -> set[str]:
        found = (records.read(path) for path in records.RECORDS_DIR.glob("*.json"))
        alive = {one.pid for one in self.alive}
        return {record.run for record in found if record and record.pid in alive}

    def do(self, action: str) -> None:
        getattr(self, f"_{action.replace(' ', '_')}")()

    def _start(self) -> None:
        """Start one; go on when it is in the records, or when it is ready."""
        was_there = self.alive
        one = subprocess.Popen(
            self._command,
            cwd=self._project,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.servers.append(one)
        path = records.RECORDS_DIR / f"{one.pid}.json"
        self._wait(lambda: path.exists() or one.poll() is not None)
        if was_there:
            if any(self._is_ready(server) for server in was_there):
                assert one.wait(DEADLINE_S) == 1
                assert all(server.poll() is None for server in was_there)
        elif self._rng.random() < 0.6:
            self._wait(lambda: self._is_ready(one))

    def _stop(self) -> None:
        assert control.stop(None) == 0
        assert not self.alive

    def _restart(self) -> None:
        before, alive = self.runs, self.alive
        status = control.restart(None)
        if status == 0:
            assert len(self.alive) == 1
            assert self.alive == alive
            assert not self.runs & before
            assert self._is_ready(self.alive[0])
        else:
            assert len(alive) != 1, "one server was to be restarted, and was not"

    def _restart_and_stop(self) -> None:
        """A stop at any moment of a restart wins."""
        before = self.runs
        with ThreadPoolExecutor() as terminal:
            restart = terminal.submit(control.restart, None)
            if self._rng.random() < 0.3:
                self._wait(lambda: self.runs != before or restart.done() or not self.alive)
            else:
                time.sleep(self._rng.random() * 0.3)  # which moment is the input of the test
            assert control.stop(None) == 0
            restart.result(DEADLINE_S)
        assert not self.alive

    def _restart_twice(self) -> None:
        alive = self.alive
        with ThreadPoolExecutor() as terminal:
            both = [terminal.submit(control.restart, None) for _ in range(2)]
            found = [one.result(DEADLINE_S) for one in both]
        if len(alive) == 1:
            assert found == [0, 0]
            assert self.alive == alive

    def _kill(self) -> None:
        for one in self.alive:
            one.kill()
            one.wait(DEADLINE_S)
        assert control.status(None) == control.NOT_RUNNING
        assert not list(records.RECORDS_DIR.glob("*.json"))

    def _is_ready(self, one: subprocess.Popen[bytes]) -> bool:
        record = records.read(records.RECORDS_DIR / f"{one.pid}.json")
        found = machine.health(record.host, record.port) if record and record.port else None
        return found is not None and found[0] == 200

    def _wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        for one in self.alive:
            one.kill()
            one.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy whose records nobody else has."""
    folder = copy_project(tmp_path_factory.mktemp("sequences") / "lanscribe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "RECORDS_DIR", folder / ".cache/servers")
        yield folder


def play(project: Path, command: Sequence[str], seed: int) -> None:
    """A sequence of the seed, then a stop after which nothing runs."""
    rng = Random(seed)
    box = Box(project, command, rng, drain_s=rng.choice([0.0, 0.1]))
    actions = ["start", *rng.choices(ACTIONS, k=rng.randint(2, 4)), "stop"]
    try:
        for number, action in enumerate(actions):
            try:
                box.do(action)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {actions}, at {number}: {error}") from error
    finally:
        box.close()


LIGHT = [str(PROJECT_DIR / "tests/light_server.py")]
REAL = ["-P", "-m", "lanscribe", "serve"]


@pytest.mark.parametrize("seed", range(20))
def test_after_stop_nothing_runs_and_after_restart_one(project: Path, seed: int) -> None:
    play(project, LIGHT, seed)


@pytest.mark.parametrize("seed", range(1_000, 1_004))
def test_so_it_is_with_lanscribe_itself(project: Path, seed: int) -> None:
    play(project, REAL, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2_000, 2_200))
def test_so_it_is_with_lanscribe_itself_for_long(project: Path, seed: int) -> None:
    play(project, REAL, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3_000, 3_200))
def test_after_stop_nothing_runs_for_long(project: Path, seed: int) -> None:
    play(project, LIGHT, seed)
