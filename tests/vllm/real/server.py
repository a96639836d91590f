"""A real vLLM that serves a tiny checkpoint on the CPU, in processes of its own."""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

READY = "Application startup complete"
START_DEADLINE_S = 300
"""Only so that a hang ends; a start takes 25 to 60 s of a core."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
}
FLAGS = [
    *("--tokenizer-mode", "mistral", "--config-format", "mistral", "--enforce-eager"),
    *("--gpu-memory-utilization", "0.3", "--max-model-len", "2048"),
]
BF16_FLAGS = ["--load-format", "mistral"]
INT4_FLAGS = ["--load-format", "bitsandbytes", "--quantization", "bitsandbytes"]


@dataclass
class VllmServer:
    """vLLM on 127.0.0.1, with all its processes."""

    python: Path
    checkpoint: Path
    flags: list[str]
    log_path: Path
    environment: dict[str, str] = field(default_factory=dict)
    model: str = "voxtral-tiny"
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/v1/realtime"

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that it wrote so far, over all its starts."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def command(self) -> list[str]:
        """What starts it."""
        command = [str(self.python), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(self.checkpoint), "--served-model-name", self.model]
        return [*command, "--host", self.host, "--port", str(self.port), *FLAGS, *self.flags]

    def start(self) -> None:
        """Start it, on the same port as before if it ran before; wait until it is ready."""
        self.port = self.port or free_port()
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.log_path.parent,
            env={**os.environ, **ENVIRONMENT, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,))
        self._reader.start()
        assert ready.wait(START_DEADLINE_S), f"vLLM hangs: {self.log[-5000:]}"
        assert READY in self.log, f"vLLM did not start: {self.log[-5000:]}"
        self._reach()

    def _reach(self) -> None:
        """Wait until it listens: a little after it says that it is ready."""
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                socket.create_connection((self.host, self.port)).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "vLLM is ready but does not listen"
                time.sleep(0.05)

    def _read(self, ready: threading.Event) -> None:
        """Copy its output to the log, to the end; say when it serves, or never will."""
        assert self.process.stdout is not None
        with self.process.stdout as output, self.log_path.open("a", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                if READY in line:
                    ready.set()
        ready.set()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End all its processes at once, as a crash of the machine's driver would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port, after `stop` or `kill`."""
        self.start()

    def _end(self, with_signal: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, with_signal)
        self.process.wait()
        self._reader.join()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
