"""A process of vLLM's whose parent is killed. Without vLLM."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys

from lanscribe import PROJECT_DIR
from lanscribe.vllm.plugin.orphans import end_with_parent
from tests.support import DEADLINE_S

PARENT = """
from tests.vllm.real.test_orphans import start_child
start_child()
"""


def start_child() -> None:
    """What vLLM's server does: start the core, and wait."""
    child = multiprocessing.get_context("spawn").Process(target=be_child)
    child.start()
    child.join()


def be_child() -> None:
    """What vLLM's core does: call the plugin, and work."""
    end_with_parent()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    signal.pause()


def test_it_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert not select.select([child], [], [], 0)[0]
        parent.kill()
    assert select.select([child], [], [], DEADLINE_S)[0]
    os.close(child)


def test_the_first_process_has_no_parent_to_follow() -> None:
    before = multiprocessing.parent_process()
    end_with_parent()
    assert before is None
