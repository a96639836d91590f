"""Every format that FFmpeg or libsndfile can write, cut off, damaged and joined.

Every note of the melody that is not where it was, is in a part that is told as missing.
"""

import io
import re
from collections.abc import Container, Sequence
from contextlib import suppress

import av
import numpy as np
import pytest

from lanscribe.media.pieces import Unreadable
from tests.media.melody import FORMATS, LENGTH_S, Format, Heard, by_pyav_s, heard, untold

CUTS = (0.3, 0.55, 0.8, 0.97)
DAMAGE_S = 0.4
"""What is lost on each side of a damaged place."""


@pytest.fixture(params=FORMATS, ids=str)
def kind(request: pytest.FixtureRequest) -> Format:
    kind: Format = request.param
    return kind


LAST = {
    **dict.fromkeys(("3g2", "3gp", "f4v", "ipod", "mov", "mp4"), "without its index|no track"),
    **dict.fromkeys(("caf", "CAF"), "without its table of packets"),
    "wtv": "no known kind",
    "wv": "no sound follows",
    "HTK": "no known kind",
    **dict.fromkeys(("OGG", "matroska-wavpack"), "no sound follows"),  # packets of seconds
    **dict.fromkeys(("avi-libopencore_amrnb", "avi-dfpwm"), "no sound follows"),  # headers of 5 kB
}
"""Formats that cannot be read without their last bytes, or that are recognised by their size."""
ENDLESS = {
    "amr",
    *("ac3", "eac3", "mp2", "adx", "alp", "mmf", "swf", "sox", "voc", "ircam", "spdif", "gxf"),
    *("mpegts", "mpeg", "dvd", "vob", "svcd", "vcd", "nut", "adts", "latm", "flv", "rm", "avm2"),
    *("AVR", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "IRCAM", "VOC", "WVE", "XI", "AU-PCM_16-big"),
    "AU-FLOAT-big",
}
"""Formats that do not say how long they are, or whose decoders take what is there for all."""
_DIFFERENCES = "each sample is a difference to the one before, without a new beginning"
_COUNTED = "its packets have no times, and FFmpeg does not tell how many it skipped"
_PAGES = "a page has seconds, and its packets no times of their own"
_NO_SYNC = "nothing marks where a frame begins, so that damage changes how many there are"
_ONE_STREAM = "the second header is read as sound, and the bits after it belong to other samples"
ASTRAY = {
    **dict.fromkeys(("alp", "apm", "kvag", "mmf", "adx", "XI", "wav-adpcm_yamaha"), _DIFFERENCES),
    **dict.fromkeys(("wav-adpcm_swf", "argo_asf"), _DIFFERENCES),
    **dict.fromkeys(("avi", "avm2", "rm", "swf", "wtv", "wav-flac", "wav-g723_1"), _COUNTED),
    **dict.fromkeys(("oga-flac", "ogg-flac", "OGG-VORBIS"), _PAGES),
    **dict.fromkeys(("amr", "wav-libopencore_amrnb", "mov-nellymoser"), _NO_SYNC),
    **dict.fromkeys(
        ("asf-wmav1", "asf-wmav2"), "a packet has half a second; its decoder is silent"
    ),
    "nut-pcm_s16le": "its checksum covers a second",
    "MP3-MPEG_LAYER_III": "2 kB of zeros are less than the largest frame",
}
"""Formats in which notes after damage may be lost or late, and why."""
LARGE = {"OGG", "oga", "ogg", "wv", "avi"}
"""Formats in which what is damaged may begin seconds before."""
NOT_JOINED = {
    **dict.fromkeys(
        ("ircam-pcm_s24le", "AU-G723_40", "AU-PCM_16-big", "AU-FLOAT-big"), _ONE_STREAM
    ),
    **dict.fromkeys(("XI", "adx"), _DIFFERENCES),
    "HTK": "it is recognised by its size",
    "avm2": "an animation has one timeline",
}
"""Formats of which the second is not heard, and why."""


def is_among(kind: Format, kinds: Container[str]) -> bool:
    """Whether a format, or all of its muxer, is among these."""
    return str(kind) in kinds or kind.muxer in kinds


@pytest.mark.parametrize("share", CUTS)
def test_what_is_cut_off_is_heard_to_there_and_told(kind: Format, share: float) -> None:
    data = kind.data[: round(share * len(kind.data))]
    try:
        got = heard(io.BytesIO(data))
    except Unreadable as refusal:
        assert re.search(LAST.get(str(kind)) or LAST[kind.muxer], str(refusal))
        return
    end_s = got.length_s if got.missing else LENGTH_S * share
    assert [time_s for time_s in untold(kind.whole, got) if time_s < end_s - 0.35] == []
    with suppress(av.FFmpegError):
        assert got.length_s > min(by_pyav_s(data), share * LENGTH_S) - 0.1
    is_whole = got.length_s > kind.whole.length_s - 0.2
    assert got.missing or is_whole or is_among(kind, ENDLESS)


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


def astray(kind: Format, got: Heard, places_s: Sequence[float]) -> list[float]:
    """The notes that are neither at their time nor missing, but for those at damaged places."""
    return [
        time_s
        for time_s in untold(kind.whole, got)
        if not any(abs(time_s - place_s) < DAMAGE_S for place_s in places_s)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2, None], ids=["0", "1", "2", "zeros"])
def test_after_damage_every_note_is_at_its_time(kind: Format, seed: int | None) -> None:
    data, places_s = without_middle(kind.data) if seed is None else damaged(kind.data, seed)
    got = heard(io.BytesIO(data))
    if not is_among(kind, ASTRAY):
        assert astray(kind, got, places_s) == []
    early = [time_s for time_s in untold(kind.whole, got) if time_s < min(places_s) - DAMAGE_S]
    assert early == [] or kind.muxer in LARGE


def test_joined_files_are_heard_both(kind: Format) -> None:
    if is_among(kind, NOT_JOINED):
        pytest.skip(NOT_JOINED.get(str(kind)) or NOT_JOINED[kind.muxer])
    got = heard(io.BytesIO(kind.data + kind.data))
    assert untold(kind.whole, got, times=2) == []
