"""Forks a process for each recording, so that none has to import the libraries again.

    python -m lanscribe.media.forker < SOCKET

Each message on the Unix socket is a track in JSON, with three descriptors: the recording, the
socket for its frames, and a socket for its end. When the server shuts its side of that, the process
is killed; when the process has ended, its exit status is written there, and it is closed. This
process ends when the server's end of its own socket is closed, and kills what still runs. It has
one thread, because a fork copies no other.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

MODULES = ("lanscribe.media.worker", "langcodes")
"""What every recording may need; it takes 0.2 s to import."""
MAX_ORDER_BYTES = 4096
"""The largest message."""
_PR_SET_PDEATHSIG = 1
"""prctl(2), Linux: the signal that a process gets when its parent dies."""

Work = Callable[[int, int, str], None]
"""Decodes: the descriptors of a recording and of the socket for its frames, and the track."""


def main() -> None:
    """Fork for the server until it ends; what a server that stops decodes is still needed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    worker, *_ = [importlib.import_module(name) for name in MODULES]
    with socket.socket(fileno=0) as orders:
        Forker(orders, worker.work).run()


class Forker:
    """The processes that decode, and what they are told and tell."""

    def __init__(self, orders: socket.socket, work: Work) -> None:
        self._orders = orders
        self._work = work
        self._pid = os.getpid()
        self._lives: dict[int, int] = {}
        """The process of each recording, by the socket for its end."""
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._waking, False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        self._poll = select.poll()
        for descriptor in (orders.fileno(), self._woken):
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Fork until the server's end of the socket is closed."""
        is_wanted = True
        while is_wanted:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._orders.fileno():
                    is_wanted = self._obey()
                elif descriptor == self._woken:
                    os.read(self._woken, select.PIPE_BUF)
                else:
                    self._kill(descriptor)
            self._reap()
        for pid in self._lives.values():  # macOS; on Linux they would end with this process
            os.kill(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        """Fork for the next message; return False if there will be none."""
        message, descriptors, _, _ = socket.recv_fds(self._orders, MAX_ORDER_BYTES, 3)
        if not message:
            return False
        recording, frames, life = descriptors
        try:
            pid = os.fork()
        except OSError:
            _tell(life, os.EX_OSERR)
        else:
            if pid == 0:
                self._be_a_worker(recording, frames, json.loads(message))
            self._lives[life] = pid
            self._poll.register(life, select.POLLIN)
        os.close(recording)
        os.close(frames)
        return True

    def _be_a_worker(self, recording: int, frames: int, track: str) -> None:
        """Decode and exit. `life` stays open here: its end is that of both processes."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._orders.fileno(), self._woken, self._waking, *self._lives):
                os.close(other)
            _end_with(self._pid)
            self._work(recording, frames, track)
            os._exit(os.EX_OK)
        finally:
            os._exit(os.EX_SOFTWARE)

    def _kill(self, life: int) -> None:
        """Kill a process, even one that hangs or is stopped."""
        self._poll.unregister(life)
        os.kill(self._lives[life], signal.SIGKILL)

    def _reap(self) -> None:
        """Tell the server of each process that has ended how it did."""
        for life, pid in list(self._lives.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._lives[life]
                with suppress(KeyError):
                    self._poll.unregister(life)
                _tell(life, os.waitstatus_to_exitcode(status))


def _tell(life: int, status: int) -> None:
    with suppress(ConnectionError):  # nobody waits for it
        os.write(life, str(status).encode())
    os.close(life)


def _wake(_number: int, _frame: object) -> None:
    """Do nothing: a signal with a handler wakes `poll` by the descriptor for it."""


def _end_with(parent: int) -> None:
    """End this process when its parent is killed, even if a decoder hangs. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main()
