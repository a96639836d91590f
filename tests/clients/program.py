"""Runs a client as a user does, in pipes or in a terminal, and waits for what it writes."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from lanscribe import PROJECT_DIR
from tests.support import DEADLINE_S

_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Stream:
    """What comes out of a file descriptor, collected by a thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._received = bytearray()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def raw(self) -> str:
        """Everything so far."""
        return self._received.decode("utf-8", errors="replace")

    @property
    def text(self) -> str:
        """Everything so far without what steers a terminal."""
        return _STEERING.sub("", self.raw)

    def wait_for(self, text: str) -> None:
        """Until `text` has come."""
        self.wait_until(lambda so_far: text in so_far)

    def wait_until(self, is_enough: Callable[[str], bool]) -> None:
        """Until `is_enough` likes what has come so far."""
        assert self.is_ever(is_enough), self.text[-2000:]

    def is_ever(self, is_enough: Callable[[str], bool]) -> bool:
        """Whether `is_enough` likes what has come, before it ends or nothing more is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: is_enough(self.text) or self._is_over, DEADLINE_S)
        return is_enough(self.text)

    def join(self) -> None:
        """Until the other end is closed."""
        self._thread.join(DEADLINE_S)
        os.close(self._descriptor)

    def _read(self) -> None:
        while chunk := self._read_chunk():
            with self._changed:
                self._received += chunk
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _read_chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, 65_536)
        except OSError:  # how Linux reports the end of a pseudo-terminal
            return b""


class Program:
    """A client that runs; in a terminal `out` and `err` are the same stream."""

    def __init__(
        self,
        script: str,
        *arguments: str | Path,
        environment: Mapping[str, str],
        in_terminal: bool,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        command = [sys.executable, str(PROJECT_DIR / script), *map(str, arguments)]
        environ = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", **environment}
        if in_terminal:
            mine, its = pty.openpty()
            streams = (its, its)
            self.out = self.err = Stream(mine)
        else:
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            streams = (out_end, err_end)
            self.out, self.err = Stream(out), Stream(err)
        self.process = subprocess.Popen(
            command,
            stdin=streams[0] if in_terminal else stdin,
            stdout=streams[0],
            stderr=streams[1],
            env=environ,
            start_new_session=True,
        )
        for descriptor in set(streams):
            os.close(descriptor)

    def interrupt(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C."""
        self.process.send_signal(with_signal)

    def wait(self) -> int:
        """Its exit status, once all it wrote is here."""
        status = self.process.wait(DEADLINE_S)
        for stream in {self.out, self.err}:
            stream.join()
        return status

    def kill(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.wait()
