"""Ends a vLLM process whose parent has died. Standard library only.

vLLM's core does not notice that its server was killed, and would hold the card's memory for ever.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Kill this process when its parent dies; does nothing in vLLM's first process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
