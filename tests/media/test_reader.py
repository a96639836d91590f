"""What the reader keeps until it is sure that there is sound."""

import io
from collections.abc import Iterator

import numpy as np
import pytest

from lanscribe.media import reader
from lanscribe.media.missing import MAX_PARTS
from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.media.source import Source

SOUND = np.full(16_000, 0.5, dtype=np.float32)


def pieces_after(count: int) -> list[Piece]:
    """What is read of a recording whose first `count` seconds are missing, one by one."""

    class Reader:
        def __init__(self, _source: Source, _track: str) -> None: ...

        def pieces(self) -> Iterator[Piece]:
            yield About()
            for start_s in range(count):
                yield Missing(start_s, start_s + 1.0, "damaged", f"fault {start_s}", 1.0)
            yield SOUND

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_Reader", Reader)
        return list(reader.read(io.BytesIO(b"recording" * 1000)))


def test_what_is_missing_before_the_sound_is_told() -> None:
    about, *missing, sound = pieces_after(MAX_PARTS)
    assert about == About()
    assert len(missing) == MAX_PARTS
    assert missing[-1] == Missing(MAX_PARTS - 1, MAX_PARTS, "damaged", "fault 99", 1.0)
    assert sound is SOUND


def test_the_last_part_covers_all_that_are_too_many() -> None:
    _, *missing, sound = pieces_after(1000)
    assert len(missing) == MAX_PARTS
    assert missing[-1] == Missing(MAX_PARTS - 1, 1000.0, "damaged", "fault 999", 901.0)
    assert sound is SOUND
