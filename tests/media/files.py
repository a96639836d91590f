"""A melody whose notes can be found again, as a file of every kind, and what was heard of it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from lanscribe.media.pieces import About, Missing
from lanscribe.media.reader import read
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, sample_count

NOTES = 24
NOTE_S = 0.25
LENGTH_S = NOTES * NOTE_S
_LOWEST_HZ, _STEP_HZ = 400, 100
"""Up to 2.7 kHz, so that a telephone's codecs keep all notes."""
_ORDER = np.random.default_rng(5).permutation(NOTES)
_WINDOW, _HOP = 1600, 320
_PURE = 0.5
"""The share of the power that one note has where it is heard."""


def melody(rate_hz: int = SAMPLE_RATE_HZ) -> Samples:
    """Notes of a quarter of a second, no two the same, shape (n,) at `rate_hz`."""
    time_s = np.arange(round(NOTE_S * rate_hz)) / rate_hz
    ends = np.minimum(1, np.minimum(time_s, NOTE_S - time_s) / 0.01)
    pitches = _LOWEST_HZ + _STEP_HZ * _ORDER
    notes = [0.4 * ends * np.sin(2 * np.pi * pitch * time_s) for pitch in pitches]
    return np.concatenate(notes).astype(np.float32)


def note_times(sound: Samples) -> dict[int, list[float]]:
    """When the middle of each note is heard, as often as it is; shape (n,) at 16 kHz."""
    if len(sound) < _WINDOW:
        return {}
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    powers = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)) ** 2
    bins = (_LOWEST_HZ + _STEP_HZ * _ORDER) * _WINDOW // SAMPLE_RATE_HZ
    notes = sum(powers[:, bins + shift] for shift in (-2, -1, 0, 1, 2))
    is_heard = (notes > _PURE * powers.sum(axis=1, keepdims=True)) & (notes > 1e-6)
    centre_s = (np.arange(len(windows)) * _HOP + _WINDOW / 2) / SAMPLE_RATE_HZ
    times: dict[int, list[float]] = {}
    for note in range(NOTES):
        at_s = centre_s[is_heard[:, note]]
        if len(at_s) > 2:
            runs = np.split(at_s, np.flatnonzero(np.diff(at_s) > NOTE_S) + 1)
            times[note] = [float((run[0] + run[-1]) / 2) for run in runs if len(run) > 2]
    return times


@dataclass
class Heard:
    """What was heard of a file, and what is missing, on the time of the recording."""

    sound: Samples
    missing: list[Missing] = field(default_factory=list)
    about: About = field(default_factory=About)

    @property
    def length_s(self) -> float:
        return len(self.sound) / SAMPLE_RATE_HZ


def heard(file: BinaryIO, track: str = "") -> Heard:
    """Read a file to its end."""
    pieces: list[Samples] = []
    result = Heard(np.empty(0, dtype=np.float32))
    for piece in read(file, track):
        if isinstance(piece, About):
            result.about = piece
        elif isinstance(piece, Missing):
            result.missing.append(piece)
            pieces.append(np.zeros(sample_count(piece.skipped_s), dtype=np.float32))
        else:
            pieces.append(piece)
    result.sound = np.concatenate(pieces)
    return result


class Pipe(io.RawIOBase):
    """Bytes that come a few at a time, and cannot be sought in."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self._file = io.BytesIO(data)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        return self._file.read(self._at_once)


def by_ffmpeg(muxer: str, codec: str, rate_hz: int, channels: int = 1, **options: str) -> bytes:
    """The melody as a file of FFmpeg's."""
    file, kind = io.BytesIO(), av.Codec(codec, "w")
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate_hz, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        if kind.audio_formats:
            stream.format = kind.audio_formats[0]
        if codec in BIT_RATES:
            stream.bit_rate = BIT_RATES[codec]
        for one in (*_frames(), None):
            container.mux(stream.encode(one))
    return file.getvalue()


def _frames() -> Iterator[av.AudioFrame]:
    """The melody in frames of a twentieth of a second."""
    pcm16 = np.rint(melody() * 32_767).astype(np.int16)
    step = sample_count(0.05)
    for start in range(0, len(pcm16), step):
        block = pcm16[np.newaxis, start : start + step]
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        yield frame


BIT_RATES = {"wmav1": 48_000, "wmav2": 48_000, "g723_1": 6_300}
