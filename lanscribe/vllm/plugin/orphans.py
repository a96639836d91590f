"""Ends a process of vLLM's that its parent has left behind. Standard library only.

vLLM's core does not notice that its server was killed, and keeps the card's memory for ever.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Have this process killed when the one that started it is gone; nothing in the first one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
