"""The bytes of a recording by their place, in a file or in a pipe that still runs."""

import io
import math
import os
import tempfile
from typing import BinaryIO

_READ_BYTES = 2**16


class Source:
    """Bytes by their place. What a pipe delivers is kept in a temporary file.

    Every method but `close` raises OSError if the file cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        """file: open for reading; it stays open."""
        self.is_complete = file.seekable()
        """Whether the end is known; False while a pipe runs."""
        self._pipe: BinaryIO | io.BufferedReader = file
        self._file = file if self.is_complete else tempfile.TemporaryFile()  # noqa: SIM115 - close
        self._is_own = not self.is_complete
        self.size_bytes = file.seek(0, os.SEEK_END) if self.is_complete else 0
        """How many bytes there are; of a pipe, so far."""

    def read_at(self, place: int, count: int) -> bytes:
        """The bytes from a place on, at most `count`; b"" only at the end. Waits for a pipe."""
        self.drain(place + 1)
        self._file.seek(place)
        return self._file.read(count)

    def head_at(self, place: int, count: int) -> bytes:
        """The bytes from a place on: `count` of them, or all that there will ever be."""
        self.drain(place + count)
        return self.read_at(place, count)

    def drain(self, most_bytes: float = math.inf) -> bool:
        """Read a pipe to its end, or so far; returns whether the end is reached."""
        while not self.is_complete and self.size_bytes < most_bytes:
            self._pull()
        return self.is_complete

    def close(self) -> None:
        """Delete what was kept of a pipe."""
        if self._is_own:
            self._file.close()

    def _pull(self) -> None:
        pipe = self._pipe
        if isinstance(pipe, io.BufferedReader):
            data = pipe.read1(_READ_BYTES)  # `read` would wait for all bytes
        else:
            data = pipe.read(_READ_BYTES)
        self.is_complete = not data
        self._file.seek(self.size_bytes)
        self.size_bytes += self._file.write(data)
