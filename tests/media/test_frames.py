"""Pieces as frames, and back."""

import numpy as np
import pytest

from lanscribe.media.frames import (
    HEAD,
    MAX_PAYLOAD_BYTES,
    Kind,
    piece_frames,
    piece_of,
    text_frame,
)
from lanscribe.media.pieces import About, Missing, Piece


def sent(piece: Piece) -> list[Piece]:
    pieces = []
    for frame in piece_frames(piece):
        kind, length = HEAD.unpack(frame[: HEAD.size])
        assert length == len(frame) - HEAD.size <= MAX_PAYLOAD_BYTES
        pieces.append(piece_of(Kind(kind), frame[HEAD.size :]))
    return pieces


@pytest.mark.parametrize(
    "piece",
    [
        About(),
        About(2, 3, "de", "Caf\u00e9 \ud800", "track 1 is silent", 12.5),
        Missing(1.25, None, "cut_off", "it ends here"),
        Missing(1.0, 5000.0, "gap", "nothing was recorded", 4998.0),
    ],
)
def test_facts_come_back_as_they_were(piece: Piece) -> None:
    assert sent(piece) == [piece]


@pytest.mark.parametrize("count", [1, 15_999, 16_000, 16_001, 100_000])
def test_samples_come_back_in_blocks_of_a_second(count: int) -> None:
    samples = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)
    blocks = sent(samples)
    assert all(len(block) <= 16_000 for block in blocks if isinstance(block, np.ndarray))
    assert np.array_equal(np.concatenate(blocks), samples)  # type: ignore[arg-type]


def test_a_title_as_long_as_its_file_is_cut_off() -> None:
    (about,) = sent(About(title="x" * 2**24))
    assert isinstance(about, About)
    assert len(about.title) == 1_000


def test_of_a_long_traceback_the_end_is_sent() -> None:
    frame = text_frame(Kind.DEFECT, "x" * 2**20 + "ZeroDivisionError")
    assert len(frame) <= HEAD.size + MAX_PAYLOAD_BYTES
    assert frame.endswith(b"ZeroDivisionError")
