"""Headers and last pages tell how long a recording should be."""

import io
import random
import struct

import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media.headers import (
    TAG,
    Wave,
    after_tags,
    declared_bytes,
    ends_wave,
    ends_with_tag,
    is_broken_mp4,
    is_cut_off_ogg,
    mpeg_length_s,
    ogg_end_s,
    tag_bytes,
    wave_of,
)
from lanscribe.media.source import Source
from tests.sounds import KINDS, by_ffmpeg, by_libsndfile

SPOKEN = spoken(range(1, 40))
LENGTH_S = len(SPOKEN) / 16_000


def source(data: bytes) -> Source:
    return Source(io.BytesIO(data))


def test_a_wav_says_where_its_sound_ends() -> None:
    data = KINDS["wav"](SPOKEN)
    assert wave_of(source(data), 0) == Wave(len(data), LENGTH_S)
    assert wave_of(source(b"before" + data), 6) == Wave(6 + len(data), LENGTH_S)
    listed = data[:12] + b"LIST\x03\0\0\0abc\0" + data[12:]
    assert wave_of(source(listed), 0) == Wave(len(listed), LENGTH_S)
    wrong_byte_rate = data[:28] + struct.pack("<I", 88_200) + data[32:]
    assert wave_of(source(wrong_byte_rate), 0) == Wave(len(data), LENGTH_S)


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "g722", "dfpwm"])
def test_a_compressed_wav_says_only_where_its_sound_ends(codec: str) -> None:
    wave = wave_of(source(by_ffmpeg(SPOKEN, "wav", codec)), 0)
    assert wave.end is not None
    assert wave.declared_s is None


def test_fragments_that_break_off_are_told() -> None:
    options = {"movflags": "empty_moov", "frag_duration": "200000"}
    data = by_ffmpeg(SPOKEN, "mp4", "aac", container_options=options)
    assert not is_broken_mp4(source(data), 0, len(data))
    assert is_broken_mp4(source(data), 0, len(data) - 9)
    last = data.rindex(b"moof") - 4
    damaged = data[:last] + bytes(20) + data[last + 20 :]
    assert is_broken_mp4(source(damaged), 0, len(damaged))
    whole = by_ffmpeg(SPOKEN, "mp4", "aac")
    assert not is_broken_mp4(source(whole + bytes(99)), 0, len(whole) + 99)
    tagged = data + b"TAG".ljust(128)
    assert not is_broken_mp4(source(tagged), 0, len(tagged))
    to_the_end = data[:last] + b"\0\0\0\0mdat"
    assert not is_broken_mp4(source(to_the_end), 0, len(to_the_end))


@pytest.mark.parametrize("kind", ["RF64", "WAV"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_wavs_of_both_orders_and_sizes(kind: str, endian: str) -> None:
    if kind == "RF64" and endian == "BIG":
        return
    data = by_libsndfile(SPOKEN, kind, endian=endian)
    assert wave_of(source(data), 0).declared_s == pytest.approx(LENGTH_S)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFF_FFD0])
def test_a_wav_from_a_pipe_does_not_know_its_length(size: int) -> None:
    data = bytearray(KINDS["wav"](SPOKEN))
    data[40:44] = struct.pack("<I", size)
    assert wave_of(source(bytes(data)), 0) == Wave(None, None)


def test_a_wav_without_sound_or_rate_declares_nothing() -> None:
    data = bytearray(KINDS["wav"](SPOKEN))
    assert wave_of(source(bytes(data[:36])), 0) == Wave(None, None)
    data[28:32] = bytes(4)
    assert wave_of(source(bytes(data)), 0) == Wave(None, None)


@pytest.mark.parametrize(
    ("following", "is_end"),
    [
        (b"", True),
        (b"LIST\x04\0\0\0abcd", True),
        (b"\0LIST\x04\0\0\0abc", True),
        (b"RIFF\x10\0\0\0WAVE", True),
        (b"ID3\x04\0\0\0\0\0\0", True),
        (bytes(12), False),
        (b"\x10\x20\x01\xff\x00\x01\x02\x03", False),
        (b"LIST\xff\xff\xff\x7f", False),
    ],
)
def test_sound_goes_on_where_no_chunk_follows(following: bytes, is_end: bool) -> None:
    """The size was then written before the sound, as by a recorder that was cut off."""
    assert ends_wave(following, len(following)) is is_end


@pytest.mark.parametrize("flags", [0, 0x10])
def test_tags_have_a_length(flags: int) -> None:
    tag = b"ID3\x04\0" + bytes([flags]) + b"\0\0\x02\x01"
    assert TAG.fullmatch(tag)
    assert tag_bytes(tag) == 10 + 257 + (10 if flags else 0)


def test_tags_at_the_end_have_a_length() -> None:
    ape = b"APETAGEX" + struct.pack("<III", 2000, 300, 5)
    header, footer = ape + b"\0\0\0\xa0" + bytes(8), ape + b"\0\0\0\x80" + bytes(8)
    for tag, length in [(header, 332), (footer, 32)]:
        found = TAG.search(b"sound" + tag)
        assert found
        assert tag_bytes(found[0]) == length
    last = TAG.search(b"sound" + b"TAG" + bytes(125))
    assert last
    assert tag_bytes(last[0]) == 128
    assert not TAG.search(b"a word with TAG in it" + bytes(200))


def test_tags_before_any_kind_are_passed_over() -> None:
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    for count in range(3):
        assert after_tags(source(tag * count + b"....ftypM4A ")) == count * len(tag)


def test_a_file_may_end_with_a_tag() -> None:
    assert ends_with_tag(b"TAG" + bytes(125))
    assert ends_with_tag(bytes(96) + b"APETAGEX" + bytes(24))
    assert not ends_with_tag(bytes(128))


@pytest.mark.parametrize("seed", range(20))
def test_an_ogg_that_lacks_its_end_is_cut_off(seed: int) -> None:
    data = KINDS["ogg"](SPOKEN)
    assert not is_cut_off_ogg(data)
    cut = data[: random.Random(seed).randrange(len(data))]
    assert is_cut_off_ogg(cut)
    assert is_cut_off_ogg(b"")


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_an_mp3_says_its_length_in_the_first_frame(rate_hz: int) -> None:
    data = by_ffmpeg(SPOKEN, "mp3", "libmp3lame", rate_hz)
    frames = data[10 + 35 :] if data.startswith(b"ID3") else data
    start = data.index(b"\xff")
    assert mpeg_length_s(data[start:]) == pytest.approx(LENGTH_S, abs=0.2)
    assert mpeg_length_s(frames[:3]) is None
    assert mpeg_length_s(b"") is None


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_an_ogg_says_when_it_ends(rate_hz: int) -> None:
    opus = by_ffmpeg(SPOKEN, "ogg", "libopus", 48_000)
    vorbis = by_libsndfile(spoken([9] * 100), "OGG", rate_hz)
    assert ogg_end_s(opus[:200], opus[-9_000:]) == pytest.approx(LENGTH_S, abs=0.05)
    assert ogg_end_s(vorbis[:200], vorbis) == pytest.approx(128_000 / rate_hz, abs=0.01)


def test_an_ogg_of_other_kinds_does_not_say_it() -> None:
    opus = by_ffmpeg(SPOKEN, "ogg", "libopus", 48_000)
    other = opus[:14] + b"1234" + opus[18:]
    assert ogg_end_s(other[:200], opus) is None
    unknown = opus[:28] + b"Unknown1" + opus[36:]
    assert ogg_end_s(unknown[:200], unknown) is None
    assert ogg_end_s(opus[:200], opus[:20]) is None


def test_an_mp3_with_a_rate_that_does_not_exist_declares_nothing() -> None:
    assert mpeg_length_s(b"\xff\xfb\x9c\0" + bytes(32) + b"Info\0\0\0\x01\0\0\0\x05") is None


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *(("w64", "pcm_s16le"), ("caf", "pcm_s16le"), ("avi", "pcm_s16le"), ("asf", "wmav2")),
        ("aiff", "pcm_s16be"),
        ("matroska", "pcm_s16le"),
    ],
)
def test_containers_declare_their_bytes(kind: str, codec: str) -> None:
    data = by_ffmpeg(SPOKEN, kind, codec, 44_100 if kind == "asf" else 16_000, b="96000")
    assert declared_bytes(source(data), 0) == pytest.approx(len(data), abs=8)
    assert declared_bytes(source(b"xyz" + data), 3) == pytest.approx(len(data), abs=8)
    assert declared_bytes(source(data[:6]), 0) <= len(data)


def test_what_declares_no_bytes_declares_none() -> None:
    assert declared_bytes(source(KINDS["flac"](SPOKEN)), 0) == 0
    live = by_ffmpeg(SPOKEN, "webm", "libopus", 48_000, {"live": "1"})
    assert declared_bytes(source(live), 0) == 0
    assert declared_bytes(source(live[:4]), 0) == 0
    open_end = b"caff\0\x01\0\0data" + b"\xff" * 8 + bytes(90)
    assert declared_bytes(source(open_end), 0) < len(open_end)
    damaged = b"caff\0\x01\0\0desc" + b"\xf0" * 8 + bytes(90)
    assert declared_bytes(source(damaged), 0) == 0


def test_a_box_of_an_mp4_may_have_a_size_of_64_bits() -> None:
    fragment = b"\0\0\0\x08moof"
    large = b"\0\0\0\x01mdat" + (20).to_bytes(8, "big") + b"data"
    assert not is_broken_mp4(source(fragment + large), 0, 28)
    assert is_broken_mp4(source(fragment + large[:-1]), 0, 27)
