"""Reads a recording piece by piece: an hour takes no more memory than a second.

Everything that can be decoded is sound, and what cannot is told as Missing. FFmpeg decodes, and
libsndfile what FFmpeg does not know.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import BinaryIO

import av

from lanscribe.media.bounds import Length
from lanscribe.media.ffmpeg import reason
from lanscribe.media.headers import after_tags
from lanscribe.media.kinds import guess, refusal
from lanscribe.media.missing import MAX_PARTS, joined
from lanscribe.media.part import UNKNOWN_BYTES, Part
from lanscribe.media.parts import Window, file_kind, next_begin
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.media.sndfile import by_libsndfile, is_its_own
from lanscribe.media.source import Source
from lanscribe.media.tape import Tape

_HEAD_BYTES = 512
_MOST_FAILURES = 20
"""After so many recordings in a row that cannot be opened, the rest of a file is not read."""


def read(file: BinaryIO | Source, track: str = "") -> Generator[Piece, None, None]:
    """The pieces of a recording.

    file: open for reading; a pipe is read while it runs. track: a number from 1, a language,
    "default", "all" (mixed), or "" for the default one, or the first with sound if that is silent.
    Raises Unreadable before the first samples if there are none, NoSuchTrack among them, and
    nothing later on. A Source stays open, and can be read again.
    """
    source = file if isinstance(file, Source) else Source(file)
    is_live, length = not source.is_complete, Length()
    try:
        for piece in _with_sound(_Reader(source, track).pieces()):
            at_s = length.at_s
            length.add(piece, source.size_bytes)
            if why := length.excess(is_live=is_live):
                yield Missing(at_s, None, "too_long", why)
                return
            yield piece
    finally:
        if source is not file:
            source.close()


def _with_sound(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, the first of them only when it is sure that there is sound.

    If more than MAX_PARTS parts are missing before it, the last one covers all the others.
    """
    before: list[Piece] = []
    for piece in pieces:
        last = before[-1] if len(before) > MAX_PARTS else None
        if isinstance(last, Missing) and isinstance(piece, Missing):
            before[-1] = joined(last, piece)
            continue
        before.append(piece)
        if not isinstance(piece, About | Missing):
            break
    yield from before
    yield from pieces


def _begin(source: Source) -> tuple[int, bytes]:
    """Where the recording begins, behind tags, and its first bytes."""
    start = after_tags(source)
    head = source.head_at(start, _HEAD_BYTES)
    if file_kind(head) or start >= source.size_bytes:
        return start, head
    return 0, source.head_at(0, _HEAD_BYTES)  # FFmpeg finds the sound of an MP3 behind anything


class _Reader:
    """Reads the recordings of a source one after the other; most files are one."""

    def __init__(self, source: Source, track: str) -> None:
        self._source = source
        self._track = track
        self._start, self._head = _begin(source)
        self._kind = file_kind(self._head)
        self._tape = Tape()
        self._has_told = False
        self._is_broken = False

    def pieces(self) -> Iterator[Piece]:
        """About the first recording, then the sound of all. Raises Unreadable if there is none."""
        if why := refusal(self._head):
            raise Unreadable(why)
        end, why = yield from self._part(self._start)
        if self._tape.has_sound and why:
            yield Missing(self._tape.time_s, None, "cut_off", why)
        if not self._tape.has_sound:
            raise Unreadable(why or guess(self._head, self._source.size_bytes))
        failures = 0
        while (place := self._next_place(end)) is not None and failures < _MOST_FAILURES:
            end, why = yield from self._part(place)
            failures = failures + 1 if why else 0
            if failures == 1:
                yield Missing(self._tape.time_s, None, "damaged", why)

    def _part(self, place: int) -> Generator[Piece, None, tuple[int, str]]:
        """The recording at a place; returns where it ends, and why it could not be read."""
        head, start_s = self._source.head_at(place, _HEAD_BYTES), self._tape.time_s
        end, why = place + 1, ""
        if not is_its_own(head):
            end, why = yield from self._by_ffmpeg(place)
        if self._tape.time_s > start_s:
            return end, why
        if self._kind or self._source.drain(UNKNOWN_BYTES):
            next_place = self._next_place(place + 1)
            window = Window(self._source, place, next_place)
            yield from self._by_libsndfile(window, head)
            if self._tape.time_s > start_s:
                return window.end, ""
        return end, why

    def _by_ffmpeg(self, place: int) -> Generator[Piece, None, tuple[int, str]]:
        end, why = place + 1, ""
        try:
            with Part(self._source, self._kind, place) as part:
                yield from self._sound_of(part)
                end = max(part.end, end)
        except av.FFmpegError as error:
            is_told = self._tape.has_sound or isinstance(error, MemoryError)
            why = reason(error) if is_told else ""
        except NoSuchTrack:
            raise
        except Unreadable as error:
            why = str(error)
        except OSError as error:
            why, self._is_broken = f"it cannot be read: {error.strerror}", True
        yield from self._tape.flush()  # not in a `finally`: a reader that is closed must not yield
        return end, why

    def _sound_of(self, part: Part) -> Iterator[Piece]:
        """The wanted track of a recording; of a later one the default, if it has no such track."""
        try:
            index, about = part.choose(self._track)
        except NoSuchTrack:
            if not self._has_told:
                raise
            index, about = part.choose("")
        if not self._has_told:
            yield about
        self._has_told = True
        yield from part.pieces(index, self._tape)

    def _by_libsndfile(self, window: Window, head: bytes) -> Iterator[Piece]:
        if not self._has_told:
            yield About()
        self._has_told = True
        with suppress(Unreadable):  # its rate is out of range, which FFmpeg has told
            yield from by_libsndfile(window, head, self._tape)

    def _next_place(self, end: int) -> int | None:
        if self._is_broken or self._kind is None or self._kind.is_framed:
            return None
        return next_begin(self._source, self._kind, end)
