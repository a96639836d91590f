"""The name of this machine in its tailnet, as the program of Tailscale gives it."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

from lanscribe.identity.names import as_full_name

PROGRAMS = ("tailscale", "/Applications/Tailscale.app/Contents/MacOS/Tailscale")
_LONGEST_S = 5.0
_FRESH_S = 60.0
_MOST_BYTES = 2**22
"""The status lists all machines of the tailnet."""


def program() -> str | None:
    """Where the program is; None if it is not installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def ask(command: str) -> list[str]:
    """The full name of this machine and its first label; empty if Tailscale gives none.

    Takes up to _LONGEST_S seconds.
    """
    try:
        done = subprocess.run(
            [command, "status", "--json", "--peers=false"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_S,
            check=False,
        )
        found = json.loads(done.stdout[:_MOST_BYTES])["Self"]["DNSName"]
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
        return []
    name = as_full_name(found) if isinstance(found, str) else ""
    return [name, name.partition(".")[0]] if name else []


class TailnetName:
    """The name, asked for in a thread when the last answer is older than a minute."""

    def __init__(
        self,
        find_program: Callable[[], str | None] = program,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find_program = find_program
        self._clock = clock
        self._asked_s = -_FRESH_S
        self._names: list[str] = []
        self._thread: threading.Thread | None = None

    def names(self) -> list[str]:
        """The names of the last answer, at once; empty until there is one."""
        now_s, known = self._clock(), self._names
        is_asking = self._thread is not None and self._thread.is_alive()
        if now_s - self._asked_s >= _FRESH_S and not is_asking:
            self._asked_s = now_s
            if command := self._find_program():
                self._thread = threading.Thread(target=self._ask, args=(command,), daemon=True)
                self._thread.start()
            else:
                self._names = known = []
        return known

    def wait(self, timeout_s: float) -> None:
        """Wait for the answer that is being asked for, at most so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _ask(self, command: str) -> None:
        self._names = ask(command)
