"""The recording that the file client sends: a file, a pipe or stdin."""

import asyncio
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, BinaryIO

from clients.address import QUOTES
from clients.output import shown
from clients.terminal import Trouble, plain
from lanscribe.media.missing import MissingParts, missing_field, track_field
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.media.reader import read
from lanscribe.speech.audio import duration_s, sample_count, samples_to_pcm16
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.timeline import Timeline

STDIN = "-"


class WrongTrack(Trouble):
    """The recording has no such track: wrong usage."""


class AudioSource:
    """A recording as 16 kHz mono, read while it is sent.

    What may have to be sent again stays in memory. Raises Trouble if nothing can be heard.
    """

    def __init__(self, path: str, track: str = "") -> None:
        name = "stdin" if path == STDIN else shown(path)
        self.about, self.missing, self.timeline = About(), MissingParts(), Timeline()
        self._ring, self._is_over = SampleRing(), False
        self._coming: asyncio.Future[list[Piece | OSError]] | None = None
        self._file = opened(path, name)
        self._pieces = read(self._file, track)
        try:
            first = batch(self._pieces, 1)
            if isinstance(first[-1], OSError):
                raise first[-1]
        except (Unreadable, OSError) as error:
            self.close()
            raise refusal_of(name, error) from error
        self._take(first)

    async def chunk(self, start: int, length_s: float) -> bytes:
        """PCM from the sample `start`, up to length_s of it; b"" at the end.

        Raises Trouble if the sample was forgotten.
        """
        end = start + sample_count(length_s)
        while self._ring.end < end and not self._is_over:
            await self._read_on(end - self._ring.end)
        if start < self._ring.oldest:
            raise Trouble("the server asks for audio that it has had; start once more")
        samples = self._ring.read(min(start, self._ring.end))
        return samples_to_pcm16(samples[: end - start])

    def forget(self, before: int) -> None:
        """Release the memory of the samples before this one."""
        self._ring.forget(before)

    def stop(self) -> None:
        """End the recording here, even if a pipe has more to come."""
        self._is_over = True
        if self._coming and not self._coming.done():
            self._coming.set_result([])

    def close(self) -> None:
        """Close the file, unless a thread still waits for a pipe."""
        with suppress(ValueError):
            self._pieces.close()
            self._file.close()

    @property
    def told(self) -> dict[str, Any]:
        """The track if there are several, and what is missing if there is, as fields of JSON."""
        return missing_field(self.missing) | track_field(self.about)

    async def _read_on(self, least: int) -> None:
        """Wait for the next samples, `least` or more; if cancelled, the next call gets them."""
        self._coming = self._coming or self._begin(least)
        await asyncio.wait([self._coming])  # does not cancel it
        pieces, self._coming = self._coming.result(), None
        self._is_over |= not pieces
        self._take(pieces)

    def _begin(self, least: int) -> asyncio.Future[list[Piece | OSError]]:
        """Read in a thread for which the program does not wait at its end: a pipe may be silent."""
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[list[Piece | OSError]] = loop.create_future()

        def settle(set_result: Callable[[], None]) -> None:
            if not coming.done():
                set_result()

        def work() -> None:
            try:
                set_result = partial(coming.set_result, batch(self._pieces, least))
            except BaseException as error:  # noqa: BLE001 - it is raised where the pieces are awaited
                set_result = partial(coming.set_exception, error)
            with suppress(RuntimeError):  # the program has ended
                loop.call_soon_threadsafe(settle, set_result)

        Thread(target=work, daemon=True).start()
        return coming

    def _take(self, pieces: list[Piece | OSError]) -> None:
        for piece in pieces:
            if isinstance(piece, About):
                self.about = piece
            elif isinstance(piece, Missing):
                self.timeline.skip(duration_s(self._ring.end), piece.skipped_s)
                self.missing.add(piece)
            elif isinstance(piece, OSError):
                end_s = self.timeline.whole_s(duration_s(self._ring.end))
                why = f"it cannot be read: {piece.strerror}"
                self.missing.add(Missing(end_s, None, "cut_off", why))
            else:
                self._ring.append(piece)


def batch(pieces: Iterator[Piece], least: int) -> list[Piece | OSError]:
    """The next pieces, with `least` samples or more in all; fewer at the end or at an error."""
    taken, count = list[Piece | OSError](), 0
    try:
        for piece in pieces:
            taken.append(piece)
            count += 0 if isinstance(piece, About | Missing) else len(piece)
            if count >= least:
                break
    except OSError as error:
        taken.append(error)
    return taken


def opened(path: str, name: str) -> BinaryIO:
    """The file, pipe or stdin, without a buffer. Raises Trouble."""
    if path == STDIN and not sys.stdin:
        raise Trouble("cannot read stdin: it is closed; name a file instead of -")
    try:
        file = io.FileIO(0 if path == STDIN else path, closefd=path != STDIN)
    except OSError as error:
        raise refusal_of(name, error) from error
    if file.isatty():
        file.close()
        raise Trouble(f"{name} is a terminal: expected a recording, such as a file or a pipe")
    with suppress(AttributeError, OSError):  # Windows lacks it
        os.set_blocking(file.fileno(), True)  # else a pipe that is silent would seem to end
    return file


def refusal_of(name: str, error: Unreadable | OSError) -> Trouble:
    """Why a file is no recording, as a line for a person."""
    if isinstance(error, OSError):
        hint = hint_of(name) if isinstance(error, FileNotFoundError) else ""
        return Trouble(f"cannot read {name}: {error.strerror}{hint}")
    kind = WrongTrack if isinstance(error, NoSuchTrack) else Trouble
    return kind(f"{name}: {error}")


def hint_of(name: str) -> str:
    """What is wrong with the name of a file that is not there, if it shows."""
    if "://" in name:
        return "; it reads files, and with - what a pipe brings: curl -sL URL | ... --audio_path -"
    if name.startswith("~"):
        return "; the shell left the ~ in it: write the folder in full"
    if name[:1] in QUOTES or name != name.strip():
        return "; the quotes and spaces around it are part of the name"
    return ""


def missing_line(part: Missing) -> str:
    """A missing part as a line for a person."""
    if part.end_s is None:
        return f"missing from {part.start_s:.1f} s on: {plain(part.why)}"
    return f"missing: {part.start_s:.1f} s to {part.end_s:.1f} s: {plain(part.why)}"


def track_line(about: About) -> str:
    """Which track was taken and why, as a line for a person; "" if there is only one."""
    if about.count == 1:
        return ""
    which = f"track {about.number} of {about.count}" if about.number else f"{about.count} tracks"
    title = " ".join(plain(about.title).split())
    names = ", ".join(filter(None, (about.language, title)))
    return plain(f"{which}{f' ({names})' if names else ''}: {about.why}")
