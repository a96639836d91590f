"""Runs a command and ends all of it with its own parent. Standard library only.

    python -m lanscribe.guard STOP_TIMEOUT_S COMMAND...

The parent holds the other end of this process's stdin: when it closes that, or dies in
whatever way, the command's whole process group gets SIGINT, then SIGTERM, then SIGKILL.
The exit status is the command's, 128 and more for a signal; by then nothing of it is left.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2), Linux: orphaned grandchildren become children of this process."""
_REQUESTS = (signal.SIGINT, signal.SIGTERM)


class Guard:
    """A running command and its process group."""

    def __init__(self, command: Sequence[str], stop_timeout_s: float) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._is_over = threading.Event()
        self._signalling = threading.Lock()
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def end(self) -> None:
        """Ask the group to end, twice, then end it."""
        for request in _REQUESTS:
            self._signal(request)
            if self._is_over.wait(self._stop_timeout_s / len(_REQUESTS)):
                return
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the command, end what it left behind; its exit status as a shell's."""
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        with self._signalling:  # not reaped yet, so its number is still its own
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
    """Guard a command; its exit status."""
    stop_timeout_s, *command = arguments
    _adopt_grandchildren()
    guard = Guard(command, float(stop_timeout_s))

    def end_when_alone() -> None:
        os.read(0, 1)  # nothing is ever written: it returns when the other end is closed
        guard.end()

    def on_signal(*_: object) -> None:
        threading.Thread(target=guard.end, daemon=True).start()

    threading.Thread(target=end_when_alone, daemon=True).start()
    for number in _REQUESTS:
        signal.signal(number, on_signal)
    return guard.wait()


def _adopt_grandchildren() -> None:
    """So that `wait` also waits for what a killed child leaves, its GPU memory included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
