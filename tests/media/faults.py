"""A forker whose processes read a second of sound and then do something else.

python -m tests.media.faults NAME before|after < SOCKET
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import BinaryIO

import numpy as np

from lanscribe.engines.fake import spoken
from lanscribe.media import forker, worker
from lanscribe.media.pieces import About, Piece

_SECOND = spoken(range(1, 14))[:16_000]


def end_by(number: signal.Signals) -> None:
    """End as by a signal from elsewhere."""
    os.kill(os.getpid(), number)


def flood() -> None:
    """Take memory until there is none."""
    taken = []
    while True:
        taken.append(np.ones(2**20))


def refuse() -> int:
    """Fail as `os.fork` does when there are too many processes."""
    raise BlockingIOError


def print_it() -> None:
    """Write to stdout and stderr as a library in C does."""
    for number in (1, 2):
        os.write(number, b"mpg123: something is odd\n" * 5000)


FAULTS: dict[str, Callable[[], object]] = {
    "crash": lambda: ctypes.string_at(0),
    "defect": lambda: 1 / 0,
    "exit": lambda: os._exit(3),
    "flood": flood,
    "hang": lambda: time.sleep(1000),
    "kill": lambda: end_by(signal.SIGKILL),
    "print": print_it,
}


def main() -> None:
    """Run the forker with another reader."""
    name, when = sys.argv[1:]

    def read(_file: BinaryIO, _track: str) -> Generator[Piece, None, None]:
        yield About()
        if when == "after":
            yield _SECOND
        FAULTS[name]()
        yield _SECOND

    if name == "forkless":
        os.fork = refuse
    worker.read = read  # type: ignore[attr-defined, assignment]
    forker.main()


if __name__ == "__main__":
    main()
