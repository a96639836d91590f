"""Forks processes that need not import anew what this one has imported.

Runs in an environment of vLLM, whose import is most of what a start costs on the CPU:
`python -m tests.vllm.real.forking MODULE...` imports modules and says "ready". Then each line on
stdin is answered by a number on stdout. Both are JSON:

    {"module": ..., "arguments": [...], "environment": {...}, "output": PATH, "errors": PATH}

forks a process that does what `python -m MODULE ARGUMENTS` does, and answers its PID, which is its
process group too; a number alone is the PID of one of them, waits for its end, and answers its exit
status. Processes that vLLM starts are forked too. The forking process itself computes nothing, so
it has no threads that a fork would lose. At the end of stdin it kills what is left of the groups.
"""

import gc
import importlib
import json
import multiprocessing.context
import os
import runpy
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn


def run(module: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Be `python -m module arguments` from here on."""
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [module, *arguments]  # runpy replaces the first by the path
    contexts = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
    contexts["spawn"] = contexts["fork"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def redirect(output: str, errors: str) -> None:
    """Nothing on stdin, and both outputs into files."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)


def do(job: dict[str, Any], answers: int) -> NoReturn:
    """Do a job in the forked process, and end it. answers: a pipe that is not for it."""
    status = 1
    try:
        os.setpgid(0, 0)
        os.close(answers)
        redirect(job["output"], job["errors"])
        run(job["module"], job["arguments"], job["environment"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def start(job: dict[str, Any], answers: int) -> int:
    """Fork a process that does the job; its PID."""
    pid = os.fork()
    if pid == 0:
        do(job, answers)
    with suppress(PermissionError, ProcessLookupError):  # it was faster
        os.setpgid(pid, pid)
    return pid


def end(pid: int) -> int:
    """Wait for the end of a process that was forked; its exit status, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Answer each line; at the end leave nothing."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed by an import
    gc.disable()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()  # or each process looks through all of it whenever it collects
    gc.enable()
    os.write(answers, b'"ready"\n')
    left = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            left.discard(asked)
            answer = end(asked)
        else:
            answer = start(asked, answers)
            left.add(answer)
        os.write(answers, b"%d\n" % answer)
    for group in left:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
