"""Stops, restarts and shows the servers that run from this folder, from another terminal.

Standard library only:

    python -m lanscribe.control stop|restart|status [--port N]

Every server leaves a record of its process in .cache/servers. A process is told from another
that got its number later by when it started, and on Linux held by a descriptor meanwhile, so
that nobody else is ever signalled. Exit status 0; 1 failed; status: 3 when nothing runs.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lanscribe import machine
from lanscribe.installation import PROJECT_DIR

RECORDS_DIR = PROJECT_DIR / ".cache" / "servers"
NOT_RUNNING = 3
STOP_DEADLINE_S = 60.0
RESTART_DEADLINE_S = 1800.0
_LOOK_AGAIN_S = 0.2
RESTART_SIGNAL = signal.SIGUSR1
_START_TIME_FIELD = 22
"""Of /proc/PID/stat, counted from 1 (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Record:
    """A server as it wrote itself down."""

    pid: int
    start_mark: str
    """When the process started: no later process of the same number has it."""
    run: str
    """Another one after a restart, which keeps the process."""
    kind: Literal["gateway", "direct"]
    host: str
    port: int

    def __str__(self) -> str:
        name = "lanscribe" if self.kind == "gateway" else "vLLM without the gateway"
        return f"{name} on port {self.port} (process {self.pid})"


class OtherProcess:
    """A process that was found by its record and is surely the one that wrote it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._descriptor = os.pidfd_open(record.pid) if hasattr(os, "pidfd_open") else None

    def signal(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            elif self.is_running():
                os.kill(self._record.pid, number)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return start_mark(self._record.pid) == self._record.start_mark

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], timeout_s)[0])
        deadline = time.monotonic() + timeout_s
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
        return not self.is_running()

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)


@contextmanager
def recorded(kind: Literal["gateway", "direct"], host: str, port: int) -> Iterator[None]:
    """Keep this process in the records meanwhile."""
    path = write_record(kind, host, port)
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def write_record(kind: Literal["gateway", "direct"], host: str, port: int) -> Path | None:
    """Write this process down; None when that is not possible, which harms nothing else."""
    pid = os.getpid()
    record = Record(pid, start_mark(pid) or "", uuid.uuid4().hex, kind, host, port)
    path = RECORDS_DIR / f"{pid}.json"
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        sys.stderr.write(f"lanscribe: {path}: {error.strerror}; serve.sh stop will not find it\n")
        return None
    return path


def start_mark(pid: int) -> str | None:
    """When a process started, in whatever form the system tells it; None when it has ended."""
    if Path("/proc/self/stat").exists():
        return _linux_start_mark(pid)
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _linux_start_mark(pid: int) -> str | None:
    """Ticks since the boot, and which boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else f"{fields[_START_TIME_FIELD - 4]} {boot}"


@contextmanager
def running(port: int | None = None) -> Iterator[list[tuple[Record, OtherProcess]]]:
    """The servers that run from this folder, or the one on a port; other records are removed."""
    found = []
    for path in sorted(RECORDS_DIR.glob("*.json")):
        record = read_record(path)
        process = _process(record)
        if record is None or process is None:
            path.unlink(missing_ok=True)
        elif port in {None, record.port}:
            found.append((record, process))
        else:
            process.close()
    try:
        yield found
    finally:
        for _, process in found:
            process.close()


def read_record(path: Path) -> Record | None:
    """The record in a file; None when it is none."""
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _process(record: Record | None) -> OtherProcess | None:
    if record is None or not record.start_mark:
        return None
    try:
        process = OtherProcess(record)
    except OSError:
        return None
    if process.is_running():
        return process
    process.close()
    return None


def stop(port: int | None) -> int:
    """End the servers, and wait for that."""
    with running(port) as servers:
        if not servers:
            _say("nothing runs")
        for _, process in servers:
            process.signal(signal.SIGTERM)
        has_ended = [_wait_for_end(record, process) for record, process in servers]
    return 0 if all(has_ended) else 1


def _wait_for_end(record: Record, process: OtherProcess) -> bool:
    if process.wait(STOP_DEADLINE_S):
        _say(f"{record} has ended")
        return True
    _say(f"{record} does not end within {STOP_DEADLINE_S:g} s; to kill it: kill -9 {record.pid}")
    return False


def restart(port: int | None) -> int:
    """Have the servers start anew, with the settings of today, where they are."""
    with running(port) as servers:
        if not servers:
            _say("nothing runs; start it: bash serve.sh")
            return 1
        has_restarted = [_restart(record, process) for record, process in servers]
    return 0 if all(has_restarted) else 1


def _restart(record: Record, process: OtherProcess) -> bool:
    if record.kind == "direct":
        _say(f"{record} cannot be restarted from here; stop it and start it again")
        return False
    process.signal(RESTART_SIGNAL)
    path = RECORDS_DIR / f"{record.pid}.json"
    deadline = time.monotonic() + RESTART_DEADLINE_S
    while process.is_running() and time.monotonic() < deadline:
        now = read_record(path)
        if now and now.run != record.run and "ready" in (state := _state(now)):
            _say(f"{now} has restarted: {state}")
            return True
        time.sleep(_LOOK_AGAIN_S)
    _say(f"{record} has not come back; its terminal or logs/lanscribe.log says why")
    return False


def status(port: int | None) -> int:
    """Show what runs; stdout, for people."""
    with running(port) as servers:
        for record, _ in servers:
            sys.stdout.write(f"{record}: {_state(record)}\n")
    if not servers:
        sys.stdout.write("nothing runs\n")
    return 0 if servers else NOT_RUNNING


def _state(record: Record) -> str:
    """What a server says of itself."""
    health = machine.port(record.host, record.port).health
    if health is None:
        return "does not answer"
    if health[0] == 200 and record.kind == "direct":
        return "ready"
    try:
        answer = json.loads(health[1])
        if health[0] == 200:
            sessions = f"{answer['sessions']} of {answer['capacity']} sessions"
            return f"ready, {answer['engine']} with {answer['model']}, {sessions}"
        return f"{answer['status']}: {answer['reason']}"
    except (ValueError, KeyError, TypeError):
        return f"answers HTTP {health[0]}"


def _say(text: str) -> None:
    sys.stderr.write(f"serve: {text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    commands = {"stop": stop, "restart": restart, "status": status}
    parser = argparse.ArgumentParser(prog="serve.sh", description="Control what runs from here.")
    parser.add_argument("command", choices=commands)
    parser.add_argument("--port", type=int, help="only the server on this port")
    options = parser.parse_args(arguments)
    try:
        return commands[options.command](options.port)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
