"""The same sound as files of many kinds, for the tests."""

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile

from lanscribe.speech.audio import Samples

RATE_HZ = 16_000


def by_libsndfile(samples: Samples, kind: str, rate_hz: int = RATE_HZ, **options: Any) -> bytes:
    """A file of `kind`, such as WAV, FLAC, OGG or MP3; samples of shape (n,) or (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, **options)
    return file.getvalue()


def by_ffmpeg(
    samples: Samples,
    kind: str,
    codec: str,
    rate_hz: int = RATE_HZ,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """A file of `kind`, such as ipod (M4A) or webm, with sound in `codec` at `rate_hz`."""
    file = io.BytesIO()
    frame = av.AudioFrame.from_ndarray(
        np.rint(samples * 32_767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
    )
    frame.sample_rate = RATE_HZ
    with av.open(file, "w", format=kind, container_options=container_options) as container:
        stream = container.add_stream(codec, rate=rate_hz, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        for one in (frame, None):
            container.mux(stream.encode(one))
    return file.getvalue()


def endless(level: float, seconds: float) -> bytes:
    """A FLAC of one level at 4 kHz: "65,535 times the same" takes 13 bytes in it."""
    file, block = io.BytesIO(), np.full((1, 65_535), round(32_767 * level), dtype=np.int16)
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=4_000, options={"frame_size": "65535"})
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        for number in range(round(seconds * 4_000 / block.size)):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 4_000, number * block.size
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = file.getvalue()
    frames = data[data.index(b"\xff\xf8", 8192) :]  # 8 KiB of nothing stand before them
    return data[:4] + b"\x80" + data[5:42] + frames


def repeating(seconds: int, rate_hz: int = 4_000) -> bytes:
    """A QuickTime file with one second of 8-bit sound, which its table names again and again.

    Each time takes 4 bytes.
    """
    sound = (bytes(range(256)) * (rate_hz // 256 + 1))[:rate_hz]
    begin = _box(b"ftyp", b"qt  ", bytes(4), b"qt  ")
    offset, count = len(begin) + 8, seconds * rate_hz
    matrix = _numbers(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    entry = _box(b"raw ", bytes(7), b"\1", bytes(9), b"\1\0\x08", _numbers(0, rate_hz << 16))
    table = _box(
        b"stbl",
        _box(b"stsd", _numbers(0, 1), entry),
        _box(b"stts", _numbers(0, 1, count, 1)),
        _box(b"stsc", _numbers(0, 1, 1, rate_hz, 1)),
        _box(b"stsz", _numbers(0, 1, count)),
        _box(b"stco", _numbers(0, seconds), _numbers(offset) * seconds),
    )
    reference = _box(b"dinf", _box(b"dref", _numbers(0, 1), _box(b"url ", _numbers(1))))
    inside = _box(b"minf", _box(b"smhd", bytes(8)), reference, table)
    handler = _box(b"hdlr", bytes(4), b"mhlrsoun", bytes(13))
    media = _box(b"mdia", _box(b"mdhd", _numbers(0, 0, 0, rate_hz, count, 0)), handler, inside)
    head = _box(b"tkhd", _numbers(7, 0, 0, 1, 0, count), bytes(12), b"\1\0\0\0", matrix, bytes(8))
    movie = _numbers(0, 0, 0, rate_hz, count, 0x10000), b"\1\0", bytes(10), matrix, bytes(24)
    whole = _box(b"moov", _box(b"mvhd", *movie, _numbers(2)), _box(b"trak", head, media))
    return begin + _box(b"mdat", sound) + whole


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return _numbers(8 + len(data)) + kind + data


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def with_holes(samples: Samples, holes: Sequence[tuple[float, float]]) -> bytes:
    """A Matroska file in packets of 80 ms whose times leave holes out.

    holes: at which second of the samples, and how many seconds long.
    """
    file, packet_samples = io.BytesIO(), RATE_HZ * 8 // 100
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE_HZ)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        for start in range(0, len(samples), packet_samples):
            pcm16 = np.rint(samples[start : start + packet_samples] * 32_768).astype("<i2")
            packet = av.Packet(pcm16.tobytes())
            before_s = sum(length_s for at_s, length_s in holes if round(at_s * RATE_HZ) <= start)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = round(1000 * (start / RATE_HZ + before_s))
            packet.duration = 80
            container.mux(packet)
    return file.getvalue()


def film(seconds: int = 1) -> bytes:
    """An MP4 of grey pictures without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        grey = np.full((32, 32, 3), 128, dtype=np.uint8)
        for _ in range(10 * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


KINDS: dict[str, Callable[[Samples], bytes]] = {
    "wav": lambda samples: by_libsndfile(samples, "WAV"),
    "flac": lambda samples: by_libsndfile(samples, "FLAC"),
    "ogg": lambda samples: by_libsndfile(samples, "OGG"),
    "mp3": lambda samples: by_libsndfile(samples, "MP3"),
    "m4a": lambda samples: by_ffmpeg(samples, "ipod", "aac"),
    "webm": lambda samples: by_ffmpeg(samples, "webm", "libopus", 48_000),
}
"""How a file of each kind is made, by the end of its name."""
