"""Reads a recording piece by piece: an hour takes no more memory than a second.

Everything that can be decoded is sound, and what cannot is told as Missing: FFmpeg decodes, and
libsndfile what FFmpeg does not know.
"""

from collections.abc import Generator, Iterator
from typing import BinaryIO

import av
import numpy as np

from lanscribe.media.bounds import Length
from lanscribe.media.ffmpeg import open_container
from lanscribe.media.kinds import guess, refusal
from lanscribe.media.parts import FileKind, Stream, file_kind, next_begin
from lanscribe.media.pieces import About, Missing, Piece, Unreadable
from lanscribe.media.recording import recorded
from lanscribe.media.sndfile import by_libsndfile
from lanscribe.media.source import Source, Window
from lanscribe.media.tape import Tape

_HEAD_BYTES = 512


def read(file: BinaryIO | Source, track: str = "") -> Generator[Piece, None, None]:
    """The pieces of a recording.

    file: open for reading; one that cannot be sought in, such as a pipe, is read while it runs.
    track: a number from 1, a language, "default", "all" (mixed), or "" for the default one, or the
    first with sound if that is silent. Raises Unreadable before the first samples if there are
    none, and NoSuchTrack; nothing later on.
    """
    if isinstance(file, Source):
        yield from _read(file, track)
        return
    source = Source(file)
    try:
        yield from _read(source, track)
    finally:
        source.close()
