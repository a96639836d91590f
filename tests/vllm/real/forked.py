"""A real vLLM that can be killed often: it is started in seconds, by tests.vllm.real.forking."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from lanscribe import PROJECT_DIR
from tests.vllm.real.server import BF16_FLAGS, ENVIRONMENT, FLAGS, free_port

START_DEADLINE_S = 300
"""Only so that a hang ends; a start takes some seconds."""


class ForkedVllm:
    """vLLM on 127.0.0.1, always on the same port."""

    model = "voxtral-tiny"

    def __init__(self, python: Path, checkpoint: Path, log_path: Path, max_model_len: int) -> None:
        self.port = free_port()
        self.max_model_len = max_model_len
        self._log_path = log_path
        command = [str(python), "-m", "tests.vllm.real.forking", str(log_path)]
        command += ["--model", str(checkpoint), "--served-model-name", self.model]
        command += ["--host", "127.0.0.1", "--port", str(self.port), *FLAGS, *BF16_FLAGS]
        command += ["--mm-processor-cache-gb", "0"]  # as in config/vllm
        self._forker = subprocess.Popen(
            [*command, "--max-model-len", str(max_model_len)],
            cwd=PROJECT_DIR,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # whoever interrupts the tests does not interrupt the forker
        )
        self.group = 0
        """Of the processes that are vLLM now; 0 when there are none."""

    def __enter__(self) -> Self:
        try:
            assert self._line() == "ready", "vLLM cannot be imported"
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.close()
        self._forker.wait()
        self._forker.stdout.close()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        assert self._forker.stdin is not None
        self._forker.stdin.write("\n")
        self._forker.stdin.flush()
        self.group = int(self._line())
        self._until(self._listens, "vLLM does not listen")

    def kill(self) -> None:
        """End all its processes with SIGKILL; wait until the port is free."""
        os.killpg(self.group, signal.SIGKILL)
        self.group = 0
        self._until(self._can_be_bound, "vLLM does not die")

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _line(self) -> str:
        """The forker's next line; its own, not what vLLM prints when it is imported."""
        assert self._forker.stdout is not None
        for line in self._forker.stdout:
            if line.strip() == "ready" or line.strip().isdigit():
                return line.strip()
        return ""

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{complaint}: {self._log_path.read_text()[-5000:]}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def _can_be_bound(self) -> bool:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True
