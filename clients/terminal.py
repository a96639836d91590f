"""The terminal: one-line errors, text without control characters, and signals to end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unicodedata import category

TERMINALS = {
    "Apple_Terminal": "Terminal",
    "iTerm.app": "iTerm",
    "vscode": "Visual Studio Code",
    "WarpTerminal": "Warp",
    "ghostty": "Ghostty",
}
"""What macOS calls a terminal, by TERM_PROGRAM."""


class Trouble(Exception):
    """An error as a line for the person at the terminal; `passes` if a later retry may help."""

    def __init__(self, line: str, *, passes: bool = False) -> None:
        super().__init__(" ".join(plain(line).split()))
        self.passes = passes


def plain(text: str) -> str:
    """`text` without terminal control characters; newlines and zero-width joiners stay."""
    kept = "\n\u200c\u200d"
    return "".join(c for c in text if c in kept or category(c) not in ("Cc", "Cf", "Cs"))


def permission() -> str:
    """How to allow the microphone where a system sends zeros without a word; "" elsewhere."""
    if sys.platform == "darwin":
        app = TERMINALS.get(os.environ.get("TERM_PROGRAM", ""), "this terminal")
        return f" Or allow it: System Settings, Privacy & Security, Microphone, {app}"
    if hasattr(sys, "getandroidapilevel"):
        return " Or allow it: Android's Settings, Apps, Termux and Termux:API, Permissions"
    return ""


@contextmanager
def ending(act: Callable[[], object]) -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and a closed terminal call `act`; nohup keeps its meaning.

    After it the program only writes its results: a first signal does nothing, a second one kills.
    """
    loop = asyncio.get_running_loop()
    terminals = [number for number in (1, 2) if os.isatty(number)]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    is_over = False

    def act_in_time() -> None:
        if not is_over:
            act()

    def end(name: int, _: object) -> None:
        if name == hangup:
            for number in terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        if is_over:
            signal.signal(name, signal.SIG_DFL)
        else:
            loop.call_soon_threadsafe(act_in_time)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    if hangup and signal.getsignal(hangup) != signal.SIG_IGN:
        signal.signal(hangup, end)
    try:
        yield
    finally:
        is_over = True
