"""Processes with real vLLM that start in a moment: they are forked by tests.vllm.real.forking."""

import json
import os
import select
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lanscribe import PROJECT_DIR

MODULES = (
    "vllm.entrypoints.cli.main",
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.entrypoints.openai.api_server",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.model_executor.models.voxtral_realtime",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.worker.cpu_worker",
    "vllm_bnb_plugin.bitsandbytes_loader",
)
"""What costs much to import, of all that is forked."""
DEADLINE_S = 300
"""Only so that a hang ends."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # the second one would only spin, with so small a model
    "PYTHONDONTWRITEBYTECODE": "",  # vLLM has thousands of modules
    "VLLM_NO_USAGE_STATS": "1",
}
"""Of every process with vLLM."""


class Forked:
    """A process that was forked, with the processes that it started."""

    def __init__(self, forker: "Forker", pid: int) -> None:
        self.pid = pid
        """Its process group too."""
        self._forker = forker
        self._end = os.pidfd_open(pid)

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it has ended, or does so within a time."""
        return bool(select.select([self._end], [], [], within_s)[0])

    def kill(self) -> None:
        """End the whole group with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit status, or minus its signal."""
        assert self.has_ended(DEADLINE_S), "a process with vLLM hangs"
        os.close(self._end)
        return self._forker.ask(self.pid)


class Forker:
    """A process that has imported modules, those of vLLM, and forks others.

    python: of an environment that has the modules.
    """

    def __init__(self, python: Path, modules: Sequence[str] = MODULES) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [str(python), "-m", "tests.vllm.real.forking", *modules],
            cwd=PROJECT_DIR,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # whoever interrupts the tests does not interrupt it
        )

    def __enter__(self) -> Self:
        try:
            assert self._answer() == "ready"
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()

    def start(
        self, module: str, *arguments: str, output: Path, errors: Path, **environment: str
    ) -> Forked:
        """Do what `python -m module arguments` does; both outputs are appended to files."""
        job = {"module": module, "arguments": arguments, "environment": environment}
        return Forked(self, self.ask({**job, "output": str(output), "errors": str(errors)}))

    def run(self, module: str, *arguments: str) -> str:
        """Do it, to the end; its stdout. Raises AssertionError with its stderr if it fails."""
        with tempfile.TemporaryDirectory() as folder:
            output, errors = Path(folder) / "output", Path(folder) / "errors"
            status = self.start(module, *arguments, output=output, errors=errors).wait()
            assert status == 0, errors.read_text(encoding="utf-8")
            return output.read_text(encoding="utf-8")

    def ask(self, question: object) -> int:
        """One line of tests.vllm.real.forking, and its answer."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{json.dumps(question)}\n")
            self._process.stdin.flush()
            answer = self._answer()
        assert isinstance(answer, int)
        return answer

    def _answer(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "vLLM cannot be imported: see above"
        return json.loads(line)

    def _close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
