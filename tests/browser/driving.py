"""What the tests do with a browser of the system, whichever it is.

Nothing here or beside it tells a browser to pass over a certificate: it trusts what its own store
of certificates says.
"""

import json
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support import DEADLINE_S

NAMES_HERE = (
    *("lanscribe.local", "lanscribe-2.local", "box.local", "box.lan", "box.fritz.box", "nas.lan"),
    *("rebound.example.net", "another.example.org", "www.example.com"),
    *("192.168.77.7", "203.0.113.5"),
)
"""Names and addresses that each browser of the tests resolves to 127.0.0.1."""


class Refused(Exception):
    """The browser shows an error instead of the page; its argument is the error's name."""


@dataclass(frozen=True)
class Cookie:
    """A cookie as the browser keeps it. same_site: "strict", "lax" or "none"."""

    name: str
    value: str
    domain: str
    path: str
    is_secure: bool
    is_http_only: bool
    same_site: str
    expires_s: float


class Page(Protocol):
    """One tab, with cookies of its own."""

    def open(self, url: str) -> None:
        """Load a page, and wait until it is loaded. Raises Refused."""

    def run(self, function: str, *arguments: Any) -> Any:
        """What a function of JavaScript, which may be async, returns: as JSON carries it."""

    def press(self, *keys: str) -> None:
        """Press keys one after the other: a character, or "Tab", "Enter" or "Space"."""

    def submit(self, *keys: str) -> str:
        """Press keys, and wait until the page to which they lead is loaded; its path."""

    def cookies(self) -> list[Cookie]:
        """Those that this tab would send somewhere."""


class Browser(Protocol):
    """A running browser."""

    name: str
    """ "chromium" or "firefox"."""

    def page(self) -> AbstractContextManager[Page]:
        """A new tab."""


def expression(function: str, arguments: Sequence[Any]) -> str:
    """A promise of JSON of what `function` returns."""
    given = ", ".join(json.dumps(argument) for argument in arguments)
    return f"(async () => JSON.stringify((await ({function})({given})) ?? null))()"


def make_store(folder: Path, authorities: Sequence[Path]) -> None:
    """A store of certificates (NSS) that trusts these authorities (PEM) for websites."""
    folder.mkdir(parents=True)
    _certutil(folder, "-N", "--empty-password")
    for file in authorities:
        _certutil(folder, "-A", "-n", file.stem, "-t", "C,,", "-i", str(file))


def _certutil(folder: Path, *arguments: str) -> None:
    command = ["certutil", "-d", f"sql:{folder}", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
