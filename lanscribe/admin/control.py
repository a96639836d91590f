"""Stops, restarts and shows the servers that run from this folder, from another terminal.

Standard library only. Servers are found by their records (records.py), and on Linux held by a
descriptor, so that no other process is ever signalled. A server that is loading or restarting is in
the records too: after a stop with exit status 0 all of them have ended, whatever they were doing.
"""

import argparse
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lanscribe.admin import machine, records
from lanscribe.admin.orders import RESTART_SIGNAL
from lanscribe.admin.records import Record, start_mark
from lanscribe.installation import say

NOT_RUNNING = 3
STOP_DEADLINE_S = 60.0
RESTART_DEADLINE_S = 1800.0
_LISTEN_DEADLINE_S = 30.0
"""How long a server may take from its start until it has a port."""
_LOOK_AGAIN_S = 0.2


class OtherProcess:
    """A process that was found by its record, and is certainly the one that wrote it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._descriptor = _descriptor(record.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; does nothing if it has ended."""
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            elif self.is_running():
                os.kill(self._record.pid, number)

    def is_running(self) -> bool:
        """Whether it is still running."""
        return start_mark(self._record.pid) == self._record.start_mark

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it ended in time."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], timeout_s)[0])
        deadline = time.monotonic() + timeout_s
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
        return not self.is_running()

    def close(self) -> None:
        """Close its descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _descriptor(pid: int) -> int | None:
    """A process's descriptor; None if the system has none. Raises ProcessLookupError."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        raise
    except OSError:
        return None


Found = list[tuple[Record, OtherProcess]]


@contextmanager
def running(port: int | None = None, signal_them: signal.Signals | None = None) -> Iterator[Found]:
    """The servers that run from this folder, or the one on a port; each is sent the signal, if any.

    Records without a running server are removed.
    """
    if port is not None:
        _wait_until_they_listen()
    with ExitStack() as held:
        with records.locked():
            found = [one for one in _processes(held) if port in {None, one[0].port}]
            for _, process in found:
                if signal_them is not None:
                    process.signal(signal_them)
        yield found


def _processes(held: ExitStack) -> Found:
    found = []
    for path in sorted(records.RECORDS_DIR.glob("*.json")):
        record = records.read(path)
        process = _process(record)
        if record is None or process is None:
            records.remove(path)
            continue
        held.callback(process.close)
        found.append((record, process))
    return found


def _wait_until_they_listen() -> None:
    """Wait until every server has a port or has ended; one that has just started has none yet.

    A restarting server counts with the port that it had before.
    """
    deadline = time.monotonic() + _LISTEN_DEADLINE_S
    while time.monotonic() < deadline:
        with running() as found:
            if all(record.port for record, _ in found):
                return
        time.sleep(_LOOK_AGAIN_S)


def _process(record: Record | None) -> OtherProcess | None:
    if record is None:
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
    """Stop the servers, and wait for their end."""
    with running(port, signal.SIGTERM) as servers:
        if not servers:
            say("serve", _nothing(port))
        has_ended = [_wait_for_end(record, process) for record, process in servers]
    with running():  # removes the record of a server that was stopped while it loaded
        pass
    return 0 if all(has_ended) else 1


def _nothing(port: int | None) -> str:
    """That no server was found, and those on other ports than the one that was asked for."""
    if port is None:
        return "nothing runs"
    with running() as others:
        found = ", ".join(str(record) for record, _ in others)
    return f"nothing runs on port {port}" + (f"; there is {found}" if found else "")


def _wait_for_end(record: Record, process: OtherProcess) -> bool:
    if process.wait(STOP_DEADLINE_S):
        say("serve", f"{record} has ended")
        return True
    say(
        "serve",
        f"{record} has not ended within {STOP_DEADLINE_S:g} s; to kill it: kill -9 {record.pid}",
    )
    return False


def restart(port: int | None) -> int:
    """Restart the servers with the current settings, each in its own process."""
    with running(port) as servers:
        if not servers:
            say("serve", f"{_nothing(port)}; start it: bash serve.sh")
            return 1
        has_restarted = [_restart(record, process) for record, process in servers]
    return 0 if all(has_restarted) else 1


def _restart(record: Record, process: OtherProcess) -> bool:
    if record.kind == "direct":
        say("serve", f"{record} cannot be restarted from here; stop it and start it again")
        return False
    process.signal(RESTART_SIGNAL)
    path = records.RECORDS_DIR / f"{record.pid}.json"
    deadline = time.monotonic() + RESTART_DEADLINE_S
    while process.is_running() and time.monotonic() < deadline:
        now = records.read(path)
        if now and now.run != record.run and now.refusal:
            say("serve", f"{record} has not restarted, and runs on: {now.refusal}")
            return False
        if now and now.run != record.run and _is_ready(state := _state(now)):
            say("serve", f"{now} has restarted: {state}")
            return True
        time.sleep(_LOOK_AGAIN_S)
    why = "its terminal or logs/lanscribe.log says why, unless it was stopped meanwhile"
    say("serve", f"{record} has not come back; {why}")
    return False


def _is_ready(state: str) -> bool:
    return state.startswith("ready")


def status(port: int | None) -> int:
    """Print what runs to stdout, for people."""
    with running(port) as servers:
        for record, _ in servers:
            sys.stdout.write(f"{record}: {_state(record)}\n")
    if not servers:
        sys.stdout.write(f"{_nothing(port)}\n")
    return 0 if servers else NOT_RUNNING


def _state(record: Record) -> str:
    """What a server reports of itself, in one line."""
    if not record.is_listening:
        return "is starting"
    state = _answer(record)
    return "".join(letter for letter in state if letter.isprintable())


def _answer(record: Record) -> str:
    try:
        health = machine.health(record.host, record.port)  # machine.port would bind the port
    except ValueError:  # for an invalid host name
        health = None
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
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"answers HTTP {health[0]}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flag that selects a server."""
    parser.add_argument("--port", type=int, help="only the server on this port")


def main(options: argparse.Namespace) -> int:
    """Stop, restart or show; 0 done, 1 failed, 3 nothing runs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return {"stop": stop, "restart": restart, "status": status}[options.word](options.port)
    except KeyboardInterrupt:
        return 130
    except PermissionError:
        say("serve", "what runs here was started by another user; run this as that user")
        return 1
