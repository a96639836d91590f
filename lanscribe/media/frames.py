"""The pieces of a recording as frames of bytes, for the socket from a decoder's process.

A frame is its kind in one byte, the length of its payload in four, and the payload.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict
from enum import IntEnum

import numpy as np

from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.speech.audio import SAMPLE_RATE_HZ

HEAD = struct.Struct("<BI")
MAX_PAYLOAD_BYTES = 2**16
"""The largest payload; a second of sound has 64,000 bytes."""
_MAX_TEXT = 1_000
"""A title may be as long as its file."""


class Kind(IntEnum):
    """What a frame is."""

    ABOUT = 1
    SAMPLES = 2
    MISSING = 3
    END = 4
    """The recording was read to its end."""
    UNREADABLE = 5
    """The reason is the payload; the same for those below."""
    NO_SUCH_TRACK = 6
    LOST = 7
    """The process cannot go on."""
    DEFECT = 8
    """The process cannot go on, by a fault of this project; the payload is a traceback."""


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """A frame of its own."""
    return HEAD.pack(kind, len(payload)) + payload


def text_frame(kind: Kind, text: str) -> bytes:
    """A frame with a text, of which the end counts when it is too long."""
    return frame(kind, text.encode(errors="backslashreplace")[-MAX_PAYLOAD_BYTES:])


def piece_frames(piece: Piece) -> Iterator[bytes]:
    """A piece in frames; samples, shape (n,), in frames of a second at most."""
    match piece:
        case About():
            yield frame(Kind.ABOUT, _fields(piece))
        case Missing():
            yield frame(Kind.MISSING, _fields(piece))
        case _:
            for start in range(0, len(piece), SAMPLE_RATE_HZ):
                block = piece[start : start + SAMPLE_RATE_HZ]
                yield frame(Kind.SAMPLES, block.astype("<f4", copy=False).tobytes())


def piece_of(kind: Kind, payload: bytes) -> Piece:
    """The piece in a frame of kind ABOUT, SAMPLES or MISSING."""
    match kind:
        case Kind.ABOUT:
            return About(**json.loads(payload))
        case Kind.MISSING:
            return Missing(**json.loads(payload))
    return np.frombuffer(payload, dtype="<f4")


def _fields(piece: About | Missing) -> bytes:
    """The fields in JSON; long texts are cut off."""
    fields = asdict(piece).items()
    cut = {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in fields}
    return json.dumps(cut).encode()
