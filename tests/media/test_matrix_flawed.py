"""Every format that FFmpeg or libsndfile can write, cut off, damaged and joined.

Every note of the melody that is not where it was, is in a part that is told as missing.
"""

import io
from collections.abc import Sequence

import numpy as np
import pytest

from lanscribe.media.pieces import Unreadable
from tests.media.melody import FORMATS, LENGTH_S, NEAR_S, Format, Heard, heard, note_times, untold

CUTS = (0.3, 0.55, 0.8, 0.97)


@pytest.fixture(params=FORMATS, ids=str)
def kind(request: pytest.FixtureRequest) -> Format:
    kind: Format = request.param
    return kind


LAST = {
    **dict.fromkeys(("3g2", "3gp", "f4v", "ipod", "mov", "mp4"), "without its index"),
    "caf": "without its table of packets",
    "wtv": "no known kind",
    "wv": "no sound follows",
    "HTK": "no known kind",
    "SDS": "no known kind",
}
"""Formats that cannot be read without their last bytes, or that are recognised by them."""
ENDLESS = {
    *("ac3", "eac3", "mp2", "adx", "alp", "mmf", "swf", "sox", "voc", "ircam", "spdif", "gxf"),
    *("mpegts", "mpeg", "dvd", "vob", "svcd", "vcd", "nut", "adts", "latm", "flv", "rm", "avm2"),
    *("AVR", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "IRCAM", "VOC", "WVE", "XI"),
}
"""Formats that do not say how long they are, or whose decoders take what is there for all."""


@pytest.mark.parametrize("share", CUTS)
def test_what_is_cut_off_is_heard_to_there_and_told(kind: Format, share: float) -> None:
    data = kind.data[: round(share * len(kind.data))]
    try:
        got = heard(io.BytesIO(data))
    except Unreadable as refusal:
        assert LAST[kind.muxer] in str(refusal)
        return
    end_s = got.length_s if got.missing else LENGTH_S * share
    assert [time_s for time_s in untold(kind.whole, got) if time_s < end_s - 0.35] == []
    assert got.length_s > LENGTH_S * share - 0.5
    if kind.muxer not in ENDLESS:
        assert got.missing


def damaged(data: bytes, seed: int) -> tuple[bytes, list[float]]:
    """Three places in the middle third with random bytes; and when these are, in seconds."""
    random, result = np.random.default_rng(seed), bytearray(data)
    places = [int(place) for place in random.integers(len(data) // 3, 2 * len(data) // 3, 3)]
    size = min(200, len(data) // 60)
    for place in places:
        result[place : place + size] = random.bytes(size)
    return bytes(result), [place / len(data) * LENGTH_S for place in places]


def without_middle(data: bytes) -> tuple[bytes, list[float]]:
    """Zeros in the middle, as of a block that was not stored; and when they are, in seconds."""
    middle, size = len(data) // 2, min(4096, len(data) // 10)
    result = data[:middle] + bytes(size) + data[middle + size :]
    return result, [(middle + at * size) / len(data) * LENGTH_S for at in (0, 0.25, 0.5, 0.75, 1)]


def astray(kind: Format, got: Heard, places_s: Sequence[float], margin_s: float) -> list[float]:
    """The notes that are neither at their time nor missing, but for those at damaged places."""
    return [
        time_s
        for time_s in untold(kind.whole, got)
        if not any(abs(time_s - place_s) < margin_s for place_s in places_s)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2, None], ids=["0", "1", "2", "zeros"])
def test_after_damage_every_note_is_at_its_time(kind: Format, seed: int | None) -> None:
    data, places_s = without_middle(kind.data) if seed is None else damaged(kind.data, seed)
    got = heard(io.BytesIO(data))
    assert astray(kind, got, places_s, 0.4) == []


def test_joined_files_are_heard_both(kind: Format) -> None:
    got = heard(io.BytesIO(kind.data + kind.data))
    assert untold(kind.whole, got, times=2) == []
