"""Where the clients write: the transcript to stdout or a file, remarks to stderr."""

import faulthandler
import io
import os
import sys
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from clients.terminal import Trouble


class OutputTrouble(Trouble):
    """The transcript cannot be written; a retry does not help."""


class Remarks(io.FileIO):
    """A stream for remarks: if it is full, or its reader is gone, they are dropped."""

    def write(self, data: object) -> int:
        """Write bytes; never raises OSError."""
        with suppress(OSError):
            super().write(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


def open_streams() -> None:
    """Prepare stdout and stderr. Raises OutputTrouble if stdout is closed.

    A letter that the encoding of stdout lacks is written as its number. What libraries in C print
    to stderr, such as notes about a damaged MP3 or a sound card, is dropped; what Python prints is
    not, and if a library crashes Python tells where.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    for _ in range(streams.count(None)):
        os.open(os.devnull, os.O_RDWR)  # else a file or a socket would get the number of a stream
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    remarks = io.BufferedWriter(Remarks(os.dup(2), "w", closefd=False))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stderr = io.TextIOWrapper(
        remarks, encoding=encoding, errors="backslashreplace", line_buffering=True
    )
    faulthandler.enable(sys.stderr)
    if not sys.stdout:
        raise OutputTrouble("cannot write the transcript: stdout is closed")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def put(file: TextIO, text: str, *, replaces: bool = False) -> None:
    """Write at once; may replace the file's content. Raises OutputTrouble, once per file."""
    try:
        if replaces and file.seekable():
            file.truncate(0)
        file.write(text)
        file.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
        what = "the transcript" if file is sys.stdout else f"--save {shown(str(file.name))}"
        raise OutputTrouble(f"cannot write {what}: {error.strerror}") from error


def file_name(text: str) -> Path:
    """A file that an option names. Raises ArgumentTypeError if it names none."""
    if not text.strip():
        raise ArgumentTypeError(f"got {text!r}, expected the name of a file")
    return Path(text)


def shown(path: str | os.PathLike[str]) -> str:
    """The name of a file for a person; bytes that are not UTF-8 as their numbers."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
