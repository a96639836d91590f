"""Files of sound: every kind, every rate, and every way to be broken."""

import io
import random
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from lanscribe.media.pieces import About, Missing, Unreadable
from lanscribe.media.reader import read
from lanscribe.media.tape import Tape
from lanscribe.speech.audio import Samples, sample_count
from tests.sounds import KINDS, by_libsndfile, film


@pytest.fixture(scope="module")
def speech() -> Samples:
    return read_wave(sample_path())


@pytest.fixture(scope="module")
def files(speech: Samples) -> dict[str, bytes]:
    return {kind: make(speech) for kind, make in KINDS.items()}


def sound_of(file: BinaryIO) -> Iterator[Samples]:
    return (piece for piece in read(file) if not isinstance(piece, About | Missing))


def decoded(data: bytes) -> Samples:
    return np.concatenate(list(sound_of(io.BytesIO(data))))


def complaint(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        decoded(data)
    return str(caught.value)


def lacks(data: bytes) -> list[Missing]:
    """What a file lacks that has some sound."""
    pieces = list(read(io.BytesIO(data)))
    assert not all(isinstance(piece, About | Missing) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, Missing)]


def likeness(one: Samples, other: Samples) -> float:
    """The largest normalised correlation over shifts of up to 0.1 s."""
    length = min(len(one), len(other)) - 3200
    piece = one[1600 : 1600 + length]
    products = np.fft.irfft(
        np.fft.rfft(other, 2 * len(other)) * np.conj(np.fft.rfft(piece, 2 * len(other)))
    )
    norm = np.linalg.norm(piece) * np.linalg.norm(other[: length + 3200])
    return float(products[:3200].max() / norm)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_what_is_stored_without_loss_comes_out_exactly(kind: str) -> None:
    samples = spoken(range(1, 500))
    assert np.array_equal(decoded(KINDS[kind](samples)), samples)


@pytest.mark.parametrize("kind", KINDS)
def test_speech_of_every_kind_sounds_the_same(
    kind: str, files: dict[str, bytes], speech: Samples
) -> None:
    samples = decoded(files[kind])
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(len(speech), abs=sample_count(0.1))
    assert likeness(speech, samples) > 0.95


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_16_khz(rate_hz: int) -> None:
    tone = np.float32(0.5) * np.sin(
        2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz, dtype=np.float32
    )
    samples = decoded(by_libsndfile(tone, "WAV", rate_hz, subtype="FLOAT"))
    assert len(samples) == pytest.approx(32_000, abs=1)
    wanted = np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16_000) / 2
    middle = slice(1_600, -1_600)
    assert np.abs(samples - wanted)[middle].max() < 1e-3


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (0, 1), (1, -1), (0, 0, 1, 0)])
def test_channels_become_one_at_the_level_of_the_loudest(gains: tuple[int, ...]) -> None:
    sound = spoken([100, 200])
    channels = np.stack([gain * sound for gain in gains], axis=1)
    assert decoded(by_libsndfile(channels, "WAV")) == pytest.approx(sound, abs=1e-6)


@pytest.mark.parametrize(
    "layout", ["mono", "stereo", "quad", "5.1", "7.1", "7.1.4", "hexadecagonal"]
)
def test_any_number_of_channels_becomes_one(layout: str) -> None:
    """PyAV reads memory that is not there where each of many channels has a plane of its own."""
    count = av.AudioLayout(layout).nb_channels
    levels = np.arange(1, count + 1, dtype=np.float32) / 100
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        sound = film.add_stream("pcm_f32le", rate=16_000)
        assert isinstance(sound, av.AudioStream)
        sound.layout = layout
        frame = av.AudioFrame.from_ndarray(np.tile(levels, 16_000)[np.newaxis], "flt", layout)
        frame.sample_rate = 16_000
        film.mux(sound.encode(frame))
        film.mux(sound.encode(None))
    samples = decoded(file.getvalue())
    assert len(samples) == 16_000
    assert samples == pytest.approx(samples[0], abs=1e-6)
    assert levels[0] <= samples[0] <= levels[-1]


def test_a_wave_file_whose_header_was_never_finished(speech: Samples) -> None:
    """As a recorder that was cut off leaves it, and a pipe: it says to be 4 GB long."""
    data = bytearray(by_libsndfile(speech, "WAV"))
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert len(decoded(bytes(data))) == len(speech)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "the file is empty"),
        (
            b"Dear diary, today I wrote a text.",
            "a text that begins with 'Dear diary",
        ),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01", "a picture"),
        (by_libsndfile(spoken([]), "WAV"), "no sound follows"),
        (by_libsndfile(spoken([1]), "WAV")[:20], "the header of a recording, of 20 bytes"),
        (by_libsndfile(spoken([1]), "WAV", 500), "sample rate of 500 Hz"),
        (film(), "no track of sound that can be read; its tracks: video"),
    ],
    ids=["empty", "text", "picture", "no samples", "half a header", "rate", "film"],
)
def test_what_is_no_sound_is_named(data: bytes, part: str) -> None:
    assert part in complaint(data)


@pytest.mark.parametrize("kind", ["flac", "m4a", "mp3", "ogg", "webm"])
def test_damage_in_the_middle_is_told_with_its_place(kind: str, files: dict[str, bytes]) -> None:
    data = files[kind]
    middle, length = len(data) // 2, len(data) // 20
    noise = np.random.default_rng(0).bytes(length)
    parts = lacks(data[:middle] + noise + data[middle + length :])
    assert any(3 < part.start_s < 7 for part in parts), parts


def test_an_m4a_without_its_end_is_named(files: dict[str, bytes]) -> None:
    assert "without its index" in complaint(files["m4a"][: len(files["m4a"]) * 2 // 3])


@pytest.mark.parametrize("kind", ["flac", "webm"])
def test_a_file_that_ends_too_soon(kind: str, files: dict[str, bytes]) -> None:
    part = lacks(files[kind][: len(files[kind]) * 2 // 3])[-1]
    assert 6 < part.start_s < 9
    assert part.end_s is None or part.end_s > 9


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        '<?xml version="1.0"?><MPD type="static"><Period><BaseURL>{path}</BaseURL></Period></MPD>',
    ],
)
def test_a_playlist_opens_no_other_file(playlist: str) -> None:
    complaint(playlist.format(path=sample_path().resolve()).encode())


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    places=st.lists(st.integers(0, 2**31), min_size=1, max_size=12),
    values=st.binary(min_size=12, max_size=12),
    part=st.floats(0, 1),
)
def test_whatever_is_broken_it_is_sound_or_a_clear_error(
    kind: str, places: list[int], values: bytes, part: float
) -> None:
    data = bytearray(KINDS[kind](spoken(range(1, 40))))
    for place, value in zip(places, values, strict=False):
        data[place % min(len(data), 700)] = value
    try:
        for piece in read(io.BytesIO(bytes(data[: round(part * len(data))]))):
            assert isinstance(piece, About | Missing) or np.isfinite(piece).all()
    except Unreadable as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("seed", range(20))
def test_no_library_writes_to_the_terminal(
    seed: int, speech: Samples, capfd: pytest.CaptureFixture[str]
) -> None:
    """What may be MPEG by its first bytes, but is not; damaged ALAC; samples of any size."""
    random_ = random.Random(seed)
    files = [bytes([0xFF, second]) + random_.randbytes(99) for second in range(256)]
    alac = by_libsndfile(speech[:16_000], "CAF", subtype="ALAC_16")
    for _ in range(20):
        at = random_.randrange(len(alac))
        files.append(alac[:at] + random_.randbytes(8) + alac[at + 8 :])
    values = random_.choices([3e38, -3e38, 0.1, np.inf, -np.inf, np.nan], k=40)
    many = np.array(values, np.float32).reshape(-1, random_.choice([1, 2, 4, 8]))
    files.append(by_libsndfile(many, "WAV", subtype="FLOAT"))
    for data in files:
        with suppress(Unreadable):
            decoded(data)
    assert capfd.readouterr() == ("", "")


def test_an_hour_takes_no_more_memory_than_a_minute() -> None:
    silence = by_libsndfile(np.zeros(3600 * 16_000 // 4, dtype=np.float32), "FLAC", 4_000)
    tracemalloc.start()
    try:
        total = sum(map(len, sound_of(io.BytesIO(silence))))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(3600 * 16_000, abs=16)
    assert peak_bytes < 8_000_000


def huge_picture(side: int) -> bytes:
    """A PNG of side * side black dots, as small as it can be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    )


def test_a_picture_beside_the_sound_is_not_unpacked() -> None:
    """FFmpeg would, to know what it is, and some kilobytes of it can be gigabytes then."""
    side, file = 12_000, io.BytesIO()
    with av.open(file, "w", format="mov") as film:
        pictures = film.add_stream("png", rate=1)
        assert isinstance(pictures, av.VideoStream)
        pictures.width = pictures.height = side
        pictures.pix_fmt = "gray"
        sound = film.add_stream("pcm_s16le", rate=16_000)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "mono"
        picture = av.Packet(huge_picture(side))
        picture.stream, picture.pts, picture.dts, picture.time_base = pictures, 0, 0, Fraction(1)
        picture.is_keyframe = True
        film.mux(picture)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        film.mux(sound.encode(frame))
        film.mux(sound.encode(None))
    assert len(file.getvalue()) < 300_000
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(decoded(file.getvalue())) == 16_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < side * side / 4_000


def test_what_would_be_decoded_at_once_is_bounded() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        sound = film.add_stream("pcm_s16le", rate=16_000)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2**23 + 1), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        film.mux(sound.encode(frame))
        film.mux(sound.encode(None))
    assert "too large to decode" in complaint(file.getvalue())


class Counted(np.ndarray):
    """Samples that are counted whenever somebody asks how many they are."""

    asked = 0

    @property  # type: ignore[misc]
    def shape(self) -> tuple[int, ...]:
        Counted.asked += 1
        return super().shape


def test_packets_of_a_sample_are_joined_at_once() -> None:
    """In time that grows with their number, not with its square."""
    seed = random.randrange(2**32)
    random_ = random.Random(seed)
    sizes = [random_.choice([0, 0, 1]) for _ in range(30_000)]
    packets = [np.zeros((1, size), np.float32).view(Counted) for size in sizes]
    tape, blocks = Tape(), list[Samples]()
    Counted.asked = 0
    for packet in packets:
        blocks += [one for one in tape.add(packet, 16_000, ()) if isinstance(one, np.ndarray)]
    blocks += [one for one in tape.flush() if isinstance(one, np.ndarray)]
    assert Counted.asked <= 5 * len(packets), f"seed {seed}"
    assert sum(map(len, blocks)) == sum(sizes), f"seed {seed}"
    assert all(len(block) >= 8_000 for block in blocks[:-1]), f"seed {seed}"
