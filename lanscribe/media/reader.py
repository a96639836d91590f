"""Reads a recording piece by piece: an hour takes no more memory than a second."""

from collections.abc import Generator
from typing import BinaryIO

from lanscribe.media.pieces import Piece


def read(file: BinaryIO, track: str = "") -> Generator[Piece, None, None]:
    """The pieces of a recording.

    file: open for reading, seekable or not. track: a number from 1, a language, "default", "all"
    (mixed), or "" for the default one, or the first with sound if that is silent. Raises Unreadable
    before the first samples if there are none, and NoSuchTrack; nothing later on.
    """
    raise NotImplementedError(file, track)
    yield
