"""A forker whose processes read one recording, whatever is sent: the second of three tracks.

    python -m tests.media.lacking < SOCKET

It says the numbers 1 to 40. After 10 of them 5 s are damaged, of which 1 s is silence, and the
recording ends before its end.
"""

from collections.abc import Generator
from typing import BinaryIO

import numpy as np

from lanscribe.engines.fake import spoken
from lanscribe.media import forker, worker
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece

ABOUT = About(2, 3, "de", "Café", "track 1 is silent", 20.0)
DAMAGED = Missing(0.8, 5.8, "damaged", "a packet cannot be decoded", 4.0)
CUT_OFF = Missing(8.2, None, "cut_off", "the file ends here")


def read(_file: BinaryIO, track: str) -> Generator[Piece, None, None]:
    """The pieces."""
    if track == "9":
        raise NoSuchTrack("the recording has 3 tracks")
    yield ABOUT
    yield spoken(range(1, 11))
    yield np.zeros(16_000, dtype=np.float32)
    yield DAMAGED
    yield spoken(range(11, 41))
    yield CUT_OFF


if __name__ == "__main__":
    worker.read = read  # type: ignore[attr-defined, assignment]
    forker.main()
