"""Every format that FFmpeg or libsndfile can write: whole, from a pipe, with tags around it.

What is heard is as long as another decoder says, and every note of a melody is at its time.
"""

import io
import os
import threading
from typing import BinaryIO, cast

import av
import pytest

from lanscribe.media.pieces import Unreadable
from tests.media.melody import (
    FORMATS,
    MUXERS,
    NOTE_S,
    NOTES,
    OTHER_MUXERS,
    RAW,
    Format,
    Pipe,
    by_pyav_s,
    by_soundfile_s,
    heard,
    raw,
    untold,
)

ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
ID3V2 = b"ID3\x04\0\0\0\0\x02\x01" + b"TIT2\0\0\0\x05\0\0\0titl" + bytes(242)
APEV2 = b"APETAGEX\xd0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\0" + bytes(8)
READ_AS_SOUND = {"AU-DOUBLE", "MAT5-DOUBLE", "amr-libopencore_amrnb", "wav-libopencore_amrnb"}
"""Formats that end with the file, in which the bytes of a tag are up to 0.2 s of sound."""
COUNTED = {"HTK-PCM_16"}
"""Formats that are recognised by the size of the file."""
NEVER_TAGGED = ("AVR", "HTK", "MAT5", "MPC2K", "PAF", "WVE", "XI")
"""Formats that only libsndfile knows, before which no program writes a tag."""


@pytest.fixture(params=FORMATS, ids=str)
def kind(request: pytest.FixtureRequest) -> Format:
    kind: Format = request.param
    return kind


def test_every_muxer_is_in_the_matrix() -> None:
    muxers = {name for name in av.formats_available if _is_output(name)}
    known = {*MUXERS, *RAW, *OTHER_MUXERS}
    assert muxers - known == set()


def _is_output(name: str) -> bool:
    try:
        return av.ContainerFormat(name, "w").is_output
    except ValueError:
        return False


def test_whole_files_are_heard_whole(kind: Format) -> None:
    got = kind.whole
    assert got.missing == []
    is_other = kind.is_of_libsndfile and kind.muxer != "MP3"
    length_s = by_soundfile_s(kind.data) if is_other else by_pyav_s(kind.data)
    assert got.length_s == pytest.approx(length_s, abs=0.1)
    times = got.notes
    assert sorted(times) == list(range(NOTES))
    for note, (time_s, *again) in times.items():
        assert time_s == pytest.approx((note + 0.5) * NOTE_S, abs=0.1)
        assert not again


@pytest.mark.parametrize("at_once", [997, 65_536])
def test_a_pipe_is_heard_as_a_file(kind: Format, at_once: int) -> None:
    got = heard(cast(BinaryIO, Pipe(kind.data, at_once)))
    assert got.missing == []
    assert untold(kind.whole, got) == []
    assert got.length_s == pytest.approx(kind.whole.length_s, abs=0.01)


@pytest.mark.parametrize("muxer", ["wav", "flac", "mp3", "adts", "ogg", "webm", "mpegts", "mp4"])
def test_a_live_pipe_is_heard_as_a_file(muxer: str) -> None:
    kind = next(one for one in FORMATS if one.muxer == muxer)
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as pipe:  # noqa: PTH123
            for start in range(0, len(kind.data), 700):
                pipe.write(kind.data[start : start + 700])

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb") as pipe:  # noqa: PTH123
        got = heard(pipe)
    thread.join()
    assert got.missing == []
    assert untold(kind.whole, got) == []


@pytest.mark.parametrize("tag", [ID3V1, APEV2], ids=["ID3v1", "APEv2"])
def test_a_tag_behind_it_changes_nothing(kind: Format, tag: bytes) -> None:
    if str(kind) in COUNTED:
        with pytest.raises(Unreadable, match="no known kind"):
            heard(io.BytesIO(kind.data + tag))
        return
    got = heard(io.BytesIO(kind.data + tag))
    assert untold(kind.whole, got) == []
    if str(kind) not in READ_AS_SOUND:
        assert got.missing == []
        assert got.length_s == pytest.approx(kind.whole.length_s, abs=0.1)


def test_a_tag_before_it_changes_nothing(kind: Format) -> None:
    if kind.muxer in NEVER_TAGGED or (kind.muxer, kind.endian) == ("AU", "LITTLE"):
        with pytest.raises(Unreadable):
            heard(io.BytesIO(ID3V2 + kind.data))
        return
    got = heard(io.BytesIO(ID3V2 + kind.data))
    assert got.missing == []
    assert untold(kind.whole, got) == []


@pytest.mark.parametrize("muxer", ["mp3", "adts"])
def test_tags_in_the_middle_change_nothing(muxer: str) -> None:
    kind = next(one for one in FORMATS if one.muxer == muxer)
    got = heard(io.BytesIO(ID3V2 + kind.data + ID3V1 + APEV2 + ID3V2 + kind.data))
    assert got.missing == []
    assert untold(kind.whole, got, times=2) == []


@pytest.mark.parametrize("muxer", RAW)
def test_what_has_no_header_is_refused_with_the_reason(muxer: str) -> None:
    with pytest.raises(Unreadable, match=r"Raw PCM has no header|no track of sound") as caught:
        heard(io.BytesIO(raw(muxer)))
    assert "expected WAV" in str(caught.value)
