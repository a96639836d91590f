"""Starts vLLM again and again without importing it again, which is most of a start on the CPU.

Runs in an environment of vLLM:

    python -m tests.vllm.real.forking LOG [vLLM's flags ...]

imports vLLM, and for each line on stdin forks a process that is vLLM's server from there on; its
process group is printed, its output goes to LOG. The processes that vLLM starts are forked too:
that is all in which it differs from `python -m vllm.entrypoints.openai.api_server`.
"""

import importlib
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
from contextlib import suppress

MODULES = [
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.entrypoints.openai.api_server",
    "vllm.entrypoints.cli.main",
    "vllm.model_executor.models.voxtral_realtime",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
]


def serve(log_path: str, flags: list[str]) -> None:
    """Be vLLM's server."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    contexts = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
    contexts["spawn"] = contexts["fork"]
    sys.argv = ["api_server", *flags]
    importlib.import_module(MODULES[0]).main()


def say(line: str) -> None:
    """To whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Fork a server for each line of stdin; at its end the last one ends too."""
    log_path, *flags = sys.argv[1:]
    for module in MODULES:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say("ready")
    group = 0
    for _ in sys.stdin:
        group = os.fork()
        if group == 0:
            serve(log_path, flags)
            os._exit(0)
        os.setpgid(group, group)
        say(str(group))
    if group:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
