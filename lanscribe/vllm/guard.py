"""Runs a command, and ends all its processes when the parent ends. Standard library only.

    python -m lanscribe.vllm.guard STOP_TIMEOUT_S COMMAND...

The parent holds the other end of this process's stdin. When the parent closes it, or dies for
any reason, the command's whole process group gets SIGINT, then SIGTERM, then SIGKILL.
The exit status is the command's, 128 and more for a signal; by then no process of it is left.
If this process itself is killed, the command gets SIGTERM, and `kill_session` ends the rest.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""prctl(2), Linux: the signal that a process gets when its parent dies."""
_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2), Linux: orphaned grandchildren become children of this process."""
_REQUESTS = (signal.SIGINT, signal.SIGTERM)
_SESSION_FIELD = 3
"""Index in /proc/PID/stat after the name, counted from 0 (proc_pid_stat(5))."""


class Guard:
    """A running command and its process group."""

    def __init__(self, command: Sequence[str], stop_timeout_s: float) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._is_over = threading.Event()
        self._signalling = threading.Lock()
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_follow_parent,  # noqa: PLW1509  no thread has been started yet
        )

    def end(self) -> None:
        """Ask the group to end, twice, then kill it."""
        for request in _REQUESTS:
            self._signal(request)
            if self._is_over.wait(self._stop_timeout_s / len(_REQUESTS)):
                return
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the command and kill what it left running; its exit status as in a shell."""
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        with self._signalling:  # not reaped yet, so its pid cannot be reused
            self._is_over.set()
            self._kill_group(signal.SIGKILL)
        status = self._child.wait()
        with suppress(ChildProcessError):
            while True:
                os.waitid(os.P_PGID, self._child.pid, os.WEXITED)
        return status if status >= 0 else 128 - status

    def _signal(self, number: signal.Signals) -> None:
        with self._signalling:
            if not self._is_over.is_set():
                self._kill_group(number)

    def _kill_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


def main(arguments: Sequence[str]) -> int:
    """Guard a command; return its exit status."""
    stop_timeout_s, *command = arguments
    _adopt_grandchildren()
    guard = Guard(command, float(stop_timeout_s))

    def end_when_alone() -> None:
        os.read(0, 1)  # nobody writes: this returns when the other end is closed
        guard.end()

    def on_signal(*_: object) -> None:
        threading.Thread(target=guard.end, daemon=True).start()

    threading.Thread(target=end_when_alone, daemon=True).start()
    for number in _REQUESTS:
        signal.signal(number, on_signal)
    return guard.wait()


def _adopt_grandchildren() -> None:
    """Make `wait` also wait for a killed child's children, and so for their GPU memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _follow_parent() -> None:
    """Make the command end when this process dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def kill_session(leader: int) -> None:
    """Kill all processes that remain in the session of a guard. Linux only."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if fields[_SESSION_FIELD] == str(leader):
                os.kill(int(stat.parent.name), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
