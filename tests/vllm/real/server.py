"""A real vLLM that serves a tiny checkpoint on the CPU, in processes of its own."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.vllm.real.forker import DEADLINE_S, Forked, Forker

MODULE = "vllm.entrypoints.openai.api_server"
MODEL = "voxtral-tiny"
FLAGS = [
    *("--tokenizer-mode", "mistral", "--config-format", "mistral", "--enforce-eager"),
    *("--gpu-memory-utilization", "0.3", "--kv-cache-memory-bytes", "256M"),
    *("--max-model-len", "2048"),
    *("--mm-processor-cache-gb", "0"),  # as in config/vllm
    # One process computes and schedules, as with one GPU; vLLM's default on the CPU are two.
    *("--distributed-executor-backend", "vllm.v1.executor.uniproc_executor.UniProcExecutor"),
]
BF16_FLAGS = ["--load-format", "mistral"]
INT4_FLAGS = ["--load-format", "bitsandbytes", "--quantization", "bitsandbytes"]


def arguments(checkpoint: Path, port: int, flags: list[str]) -> list[str]:
    """What follows `python -m vllm.entrypoints.openai.api_server`; the last of a flag counts."""
    named = ["--model", str(checkpoint), "--served-model-name", MODEL]
    return [*named, "--host", "127.0.0.1", "--port", str(port), *FLAGS, *flags]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class VllmServer:
    """vLLM on 127.0.0.1, always on the same port."""

    forker: Forker
    checkpoint: Path
    flags: list[str]
    log_path: Path
    environment: dict[str, str] = field(default_factory=dict)
    model: str = MODEL
    port: int = field(default_factory=free_port)
    _process: Forked | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def group(self) -> int:
        """The process group of all its processes."""
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Start it, and leave nothing of it."""
        try:
            self.start()
            yield self
        finally:
            self.kill()

    def start(self) -> None:
        """Start it and wait until it serves."""
        log, flags = self.log_path, arguments(self.checkpoint, self.port, self.flags)
        process = self.forker.start(MODULE, *flags, output=log, errors=log, **self.environment)
        self._process = process
        deadline = time.monotonic() + DEADLINE_S
        while not self._listens():
            ended = process.has_ended(within_s=0.05)
            is_hopeless = ended or time.monotonic() > deadline
            assert not is_hopeless, f"vLLM did not start: {log.read_text()[-5000:]}"

    def kill(self) -> None:
        """End all its processes at once, as a crash of the machine's driver would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        deadline = time.monotonic() + DEADLINE_S
        while not self._can_be_bound():  # its core has the socket too, and may end later
            assert time.monotonic() < deadline, "vLLM does not die"
            time.sleep(0.02)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

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
