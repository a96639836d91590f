"""Where a recording ends and the next begins is found in a file and in a pipe alike."""

import errno
import io
import itertools
import os
import random
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import av
import numpy as np
import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media import parts as parts_module
from lanscribe.media.parts import FILE_KINDS, Stream, Window
from lanscribe.media.pieces import About, Missing, Piece, Unreadable
from lanscribe.media.reader import read
from lanscribe.media.source import Source
from lanscribe.speech.audio import Samples
from tests.sounds import KINDS, by_ffmpeg, by_libsndfile, film

ONE, TWO = spoken(range(1, 40)), spoken(range(40, 70))
TONE_S = 2.5


class Pipe(io.RawIOBase):
    """A pipe that delivers a few bytes at a time."""

    def __init__(self, data: bytes, seed: int) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._random = random.Random(seed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(len(buffer), self._random.choice([1, 7, 150, 4_000, 60_000])))
        buffer[: len(data)] = data
        return len(data)


def sound(pieces: list[Piece]) -> Samples:
    return np.concatenate([one for one in pieces if not isinstance(one, About | Missing)])


def missing(pieces: list[Piece]) -> list[Missing]:
    return [one for one in pieces if isinstance(one, Missing)]


def both_ways(data: bytes, seed: int = 0) -> list[Piece]:
    """What is read of a file; the same as is read of a pipe."""
    pieces = list(read(io.BytesIO(data)))
    piped = list(read(Pipe(data, seed)))  # type: ignore[arg-type]
    assert np.array_equal(sound(pieces), sound(piped))
    assert missing(pieces) == missing(piped)
    return pieces


def wav(samples: Samples) -> bytes:
    return KINDS["wav"](samples)


def flac(samples: Samples) -> bytes:
    return KINDS["flac"](samples)


def listed(samples: Samples) -> bytes:
    """A WAV with chunks around its sound, which say what it is about."""
    info = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT\x0e\0\0\0Lavf62.12.102\0"
    data = wav(samples)
    return data[:12] + info + data[12:] + info


@pytest.mark.parametrize("make", [wav, flac, listed])
def test_joined_recordings_without_loss_are_heard_exactly(make: Callable[..., bytes]) -> None:
    for seed, three in enumerate(itertools.product([ONE, TWO], repeat=3)):
        pieces = both_ways(b"".join(make(part) for part in three), seed)
        assert np.array_equal(sound(pieces), np.concatenate(three))
        assert missing(pieces) == []


@pytest.mark.parametrize("size", [0, 8_000, 44_100])
def test_a_wav_with_a_size_that_is_too_small_is_heard_to_its_end(size: int) -> None:
    data = bytearray(wav(ONE))
    data[40:44] = size.to_bytes(4, "little")
    assert np.array_equal(sound(both_ways(bytes(data))), ONE)


def test_joined_wavs_without_sizes_are_heard() -> None:
    parts = [bytearray(wav(one)) for one in (ONE, TWO)]
    for part in parts:
        part[4:8] = part[40:44] = b"\xff\xff\xff\xff"
    assert np.array_equal(sound(both_ways(b"".join(parts))), np.concatenate([ONE, TWO]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_wav_that_is_cut_off_says_what_it_lacks(share: float) -> None:
    data = wav(ONE)
    pieces = both_ways(data[: 44 + round(len(ONE) * share) * 2])
    (lacking,) = missing(pieces)
    assert lacking.code == "cut_off"
    assert lacking.start_s == pytest.approx(len(ONE) * share / 16_000, abs=0.001)
    assert lacking.end_s == pytest.approx(len(ONE) / 16_000)


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav"])
def test_a_compressed_wav_is_cut_off_by_its_bytes(codec: str) -> None:
    """The byte rates that programs write for these codecs are wrong."""
    data = by_ffmpeg(ONE, "wav", codec)
    assert missing(both_ways(data)) == []
    lacking = missing(both_ways(data[: len(data) // 2]))[-1]
    assert (lacking.code, lacking.end_s) == ("cut_off", None)


def filmed(samples: Samples, kind: str, **options: str) -> bytes:
    """The sound beside a video track."""
    file, packets = io.BytesIO(), list[tuple[float, Any]]()
    with av.open(file, "w", format=kind, container_options=options) as joined:
        for one in (film(seconds=4), by_ffmpeg(samples, "matroska", "aac")):
            with av.open(io.BytesIO(one), "r") as container:
                track = container.streams[0]
                copy = joined.add_stream_from_template(track)
                for packet in container.demux(track):
                    if packet.dts is not None and packet.time_base is not None:
                        packets.append((float(packet.dts * packet.time_base), packet))
                        packet.stream = copy
        for _, packet in sorted(packets, key=itemgetter(0)):
            joined.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
def test_a_film_that_breaks_off_says_so(kind: str) -> None:
    """Its length may be that of the pictures, so its bytes decide."""
    options = {"movflags": "frag_keyframe+empty_moov"} if kind == "mp4" else {}
    data = filmed(ONE, kind, **options)
    assert missing(both_ways(data)) == []
    lacking = missing(both_ways(data[: len(data) * 7 // 10]))[-1]
    assert lacking.code == "cut_off"


def opus(samples: Samples) -> bytes:
    return by_ffmpeg(samples, "ogg", "libopus", 48_000)


def vorbis(samples: Samples) -> bytes:
    return by_libsndfile(samples, "OGG")


def vorbis_of_two(samples: Samples) -> bytes:
    return by_libsndfile(np.repeat(samples, 2)[:, np.newaxis].repeat(2, 1), "OGG", 32_000)


@pytest.mark.parametrize("first", [opus, vorbis, vorbis_of_two])
@pytest.mark.parametrize("second", [opus, vorbis, vorbis_of_two])
def test_chained_oggs_alike_and_different(
    first: Callable[..., bytes], second: Callable[..., bytes]
) -> None:
    pieces = both_ways((first(ONE) + second(TWO)) * 3)
    assert len(sound(pieces)) == pytest.approx(3 * (len(ONE) + len(TWO)), abs=3 * 800)
    assert missing(pieces) == []


class Counting:
    """A pattern that counts the bytes in which it is searched."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.count = 0

    def search(self, data: bytes) -> re.Match[bytes] | None:
        self.count += len(data)
        return self._pattern.search(data)


def test_an_ogg_of_beginnings_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again at each of them, which would take the square of its size."""
    counting = Counting(parts_module._OGG_BODY)
    monkeypatch.setattr(parts_module, "_OGG_BODY", counting)
    data = vorbis(ONE) + b"OggS\0\x02" * 30_000
    stream = Stream(Source(io.BytesIO(data)), next(k for k in FILE_KINDS if k.name == "ogg"), 0)
    while stream.read(2**16):
        pass
    assert stream.end is not None
    assert stream.end < len(data)
    rest = Stream(Source(io.BytesIO(data)), stream.kind, stream.end)
    while rest.read(2**16):
        pass
    assert counting.count < 5 * len(data)


@pytest.mark.parametrize("repeated", [1, 2])
def test_an_ogg_with_two_tracks_is_one_recording(repeated: int) -> None:
    """It begins with a page for each; a chained one begins with such pages again."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        streams = [container.add_stream("libopus", rate=48_000) for _ in range(2)]
        for stream in streams:
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
        for stream, is_last in itertools.product(streams, (False, True)):
            frame = av.AudioFrame.from_ndarray(ONE[np.newaxis], "flt", "mono")
            frame.sample_rate = 16_000
            assert isinstance(stream, av.AudioStream)
            container.mux(stream.encode(None if is_last else frame))
    pieces = both_ways(file.getvalue() * repeated)
    assert len(sound(pieces)) == pytest.approx(repeated * len(ONE), abs=repeated * 800)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_tags_inside_an_mp3_are_no_sound_and_no_damage(rate_hz: int) -> None:
    picture = random.Random(3).randbytes(3_000) + b"\xff\xfb\x90\x00" * 50
    size = bytes([len(picture) >> 14 & 127, len(picture) >> 7 & 127, len(picture) & 127])
    tag = b"ID3\x03\0\0\0" + size + picture
    one, two = (by_ffmpeg(part, "mp3", "libmp3lame", rate_hz) for part in (ONE, TWO))
    data = tag + one + b"TAG" + bytes(125) + tag + two + b"TAG" + bytes(125)
    pieces = both_ways(data)
    assert missing(pieces) == []
    assert len(sound(pieces)) == pytest.approx(len(ONE) + len(TWO), abs=0.2 * 16_000)


def test_a_window_ignores_places_that_are_not_in_it() -> None:
    window = Window(Source(io.BytesIO(bytes(range(100)))), 10, 60)
    assert window.read(3) == bytes([10, 11, 12])
    assert window.seek(-5) == 3
    assert window.seek(51) == 3
    assert window.seek(-1, os.SEEK_END) == 49
    assert window.read() == bytes([59])
    assert window.read(5) == b""
    assert window.seek(2, os.SEEK_SET) == 2
    assert window.seek(2, os.SEEK_CUR) == 4
    buffer = bytearray(4)
    assert window.readinto(memoryview(buffer)) == 4
    assert bytes(buffer) == bytes([14, 15, 16, 17])
    assert window.seek(0, 9) == 8


def test_what_libsndfile_alone_reads_is_heard() -> None:
    for kind in ("MAT5", "HTK", "MPC2K", "XI"):
        data = by_libsndfile(ONE, kind, subtype="DPCM_16" if kind == "XI" else "PCM_16")
        assert len(sound(both_ways(data))) == pytest.approx(
            len(ONE) * (16 / 44.1 if kind == "XI" else 1), abs=2
        ), kind


@pytest.mark.parametrize("valid_bits", [0, 20, 24, 32])
def test_pcm_with_fewer_bits_than_its_place_is_heard(valid_bits: int) -> None:
    """Windows records 24 bits in 32, which FFmpeg takes for floats."""
    data = bytearray(by_libsndfile(ONE, "WAVEX", subtype="PCM_32"))
    at = data.index(b"fmt ") + 8
    assert data[at + 14 : at + 16] == b"\x20\0"
    data[at + 18] = valid_bits
    pieces = both_ways(bytes(data))
    assert sound(pieces) == pytest.approx(ONE, abs=1e-4)
    assert missing(pieces) == []


class Endless(io.RawIOBase):
    """A pipe of noise that does not end."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._noise = random.Random(1).randbytes(2**16)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = self._noise[: len(buffer)]
        self.count += len(buffer)
        return len(buffer)


def test_a_pipe_of_noise_without_an_end_is_refused() -> None:
    pipe = Endless()
    with pytest.raises(Unreadable, match="no sound in the first 64 MiB"):
        list(read(pipe))  # type: ignore[arg-type]
    assert pipe.count < 2**27


class Failing(Pipe):
    """A pipe that cannot be read to its end."""

    def readinto(self, buffer: Any) -> int:
        if not (count := super().readinto(buffer)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return count


def test_a_source_that_fails_is_told_once() -> None:
    pieces = list(read(Failing(wav(ONE)[:-8_000] * 2, 0)))  # type: ignore[arg-type]
    assert len(sound(pieces)) > len(ONE)
    assert missing(pieces)[-1].why == "it cannot be read: Input/output error"
    assert sum("cannot be read" in part.why for part in missing(pieces)) == 1


def test_a_lack_of_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = KINDS["m4a"](ONE)

    def fails(*_: object, **_others: object) -> None:
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(av, "open", fails)
    with pytest.raises(Unreadable, match="Cannot allocate memory"):
        list(read(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("kind", "codec", "rates_hz"),
    [
        ("mp3", "libmp3lame", [44_100, 22_050, 16_000, 48_000]),
        ("mp2", "mp2", [48_000, 32_000, 44_100]),
        ("adts", "aac", [16_000, 48_000, 44_100, 24_000]),
        ("mpegts", "aac", [48_000, 44_100]),
        ("ac3", "ac3", [48_000, 32_000]),
    ],
)
@pytest.mark.parametrize("layouts", [["mono"], ["mono", "stereo"]], ids=["alike", "changing"])
def test_the_rate_and_the_channels_may_change_in_the_middle(
    kind: str, codec: str, rates_hz: list[int], layouts: list[str]
) -> None:
    """Each part has a tone of its own, which comes out at its pitch, its level and its time."""
    parts = [
        tone(300 * (number + 1), kind, codec, rate_hz, layouts[number % len(layouts)])
        for number, rate_hz in enumerate(rates_hz)
    ]
    pieces = both_ways(b"".join(parts))
    heard, length = sound(pieces), TONE_S * 16_000
    assert len(heard) == pytest.approx(len(parts) * length, abs=0.1 * len(parts) * 16_000)
    assert missing(pieces) == []
    for number in range(len(parts)):
        middle = round((number + 0.5) * len(heard) / len(parts))
        part = heard[middle - 8_000 : middle + 8_000]
        power = np.abs(np.fft.rfft(part * np.hanning(16_000)))
        assert int(power.argmax()) == pytest.approx(300 * (number + 1), abs=2)
        assert part.std() == pytest.approx(0.3 / 2**0.5, rel=0.1)


def tone(pitch_hz: float, kind: str, codec: str, rate_hz: int, layout: str) -> bytes:
    """A file with a tone in all its channels, as loud as 0.3."""
    file, count = io.BytesIO(), round(TONE_S * rate_hz)
    wave = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(count) / rate_hz)
    channels = len(av.AudioLayout(layout).channels)
    frame = av.AudioFrame.from_ndarray(
        np.repeat(wave, channels).astype(np.float32)[np.newaxis], "flt", layout
    )
    frame.sample_rate = rate_hz
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        for one in (frame, None):
            container.mux(stream.encode(one))
    return file.getvalue()


def test_a_second_recording_that_only_libsndfile_reads_says_what_it_lacks() -> None:
    """Where it is in the whole, and not in itself."""
    data = by_libsndfile(ONE, "WAV", endian="BIG")
    whole_s = len(ONE) / 16_000
    pieces = both_ways(data + data[: 44 + len(ONE)])
    (lacking,) = missing(pieces)
    assert lacking.code == "cut_off"
    assert lacking.start_s == pytest.approx(1.5 * whole_s, abs=0.01)
    assert lacking.end_s is None or lacking.end_s == pytest.approx(2 * whole_s, abs=0.01)
