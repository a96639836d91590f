"""A melody whose notes can be found again, as a file of every kind, and what was heard of it."""

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import BinaryIO, cast

import av
import numpy as np
import soundfile

from lanscribe.media.pieces import About, Missing
from lanscribe.media.reader import read
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, sample_count

NOTES = 24
NOTE_S = 0.25
LENGTH_S = NOTES * NOTE_S
_LOWEST_HZ, _STEP_HZ = 400, 100
"""Up to 2.7 kHz, so that a telephone's codecs keep all notes."""
_ORDER = np.random.default_rng(5).permutation(NOTES)
NEAR_S = 0.15
"""How far from its place a note may be heard."""
_WINDOW, _HOP = 1600, 320
_PURE = 0.5
"""The share of the power that one note has where it is heard."""


def melody(rate_hz: int = SAMPLE_RATE_HZ) -> Samples:
    """Notes of a quarter of a second, no two the same, shape (n,) at `rate_hz`."""
    time_s = np.arange(round(NOTE_S * rate_hz)) / rate_hz
    ends = np.minimum(1, np.minimum(time_s, NOTE_S - time_s) / 0.01)
    pitches = _LOWEST_HZ + _STEP_HZ * _ORDER
    notes = [0.4 * ends * np.sin(2 * np.pi * pitch * time_s + 1) for pitch in pitches]
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

    @cached_property
    def notes(self) -> dict[int, list[float]]:
        """When each note is heard, once the sound is whole."""
        return note_times(self.sound)

    @property
    def length_s(self) -> float:
        return len(self.sound) / SAMPLE_RATE_HZ

    def is_missing_at(self, time_s: float) -> bool:
        """Whether this moment is told as missing."""
        return any(
            one.start_s - NEAR_S <= time_s and (one.end_s is None or time_s <= one.end_s + NEAR_S)
            for one in self.missing
        )


def heard(file: "BinaryIO | Pipe", track: str = "") -> Heard:
    """Read a file to its end."""
    pieces: list[Samples] = []
    result = Heard(np.empty(0, dtype=np.float32))
    for piece in read(cast(BinaryIO, file), track):
        if isinstance(piece, About):
            result.about = piece
        elif isinstance(piece, Missing):
            result.missing.append(piece)
            pieces.append(np.zeros(sample_count(piece.skipped_s), dtype=np.float32))
        else:
            pieces.append(piece)
    result.sound = np.concatenate(pieces)
    return result


def untold(whole: Heard, got: Heard, times: int = 1) -> list[float]:
    """When notes should be, in the whole so many times, that are neither there nor told missing."""
    found, expected = got.notes, whole.notes
    wanted = [
        (note, expected[note][0] + number * whole.length_s)
        for number in range(times)
        for note in range(NOTES)
    ]
    return [
        round(time_s, 2)
        for note, time_s in wanted
        if not any(abs(time_s - one) < NEAR_S for one in found.get(note, []))
        and not got.is_missing_at(time_s)
    ]


class Pipe(io.RawIOBase):
    """Bytes that come a few at a time, and cannot be sought in."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self._file = io.BytesIO(data)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        return self._file.read(self._at_once)


RATES = ((16_000, 1), (8_000, 1), (48_000, 1), (48_000, 2), (22_050, 1), (44_100, 2), (96_000, 6))
"""Rates in Hz and numbers of channels; the first that a format takes is written."""
RATES_OF = {"libopencore_amrnb": RATES[1:], "flv": RATES[4:]}
"""Codecs and muxers that write others too, and then say what is wrong of them."""
BIT_RATES = {"wmav1": 48_000, "wmav2": 48_000, "g723_1": 6_300}
MUXERS = {
    "3g2": "aac",
    "3gp": "aac libopencore_amrnb",
    "ac3": "ac3",
    "adts": "aac",
    "adx": "adpcm_adx",
    "aiff": "pcm_s16be pcm_s24be pcm_f32be pcm_f64be pcm_alaw pcm_mulaw pcm_s8 adpcm_ima_qt",
    "alp": "adpcm_ima_alp",
    "amr": "libopencore_amrnb",
    "apm": "adpcm_ima_apm",
    "argo_asf": "adpcm_argo",
    "asf": "wmav2 wmav1 mp3 aac ac3 pcm_s16le",
    "ast": "pcm_s16be_planar",
    "au": "pcm_s16be pcm_s8 pcm_f32be pcm_mulaw g722 g726le",
    "avi": "mp3 aac ac3 pcm_s16le adpcm_ms libopencore_amrnb dfpwm",
    "avm2": "mp3",
    "caf": "pcm_s16le alac flac mp3 libopencore_amrnb ac3",
    "dvd": "ac3 mp2 pcm_dvd",
    "eac3": "eac3",
    "f4v": "aac",
    "flac": "flac",
    "flv": "aac mp3 nellymoser adpcm_swf pcm_s16le",
    "gxf": "pcm_s16le",
    "ipod": "aac alac ac3",
    "ircam": "pcm_s16le pcm_s24le pcm_f32le pcm_s8",
    "ismv": "aac",
    "kvag": "adpcm_ima_ssi",
    "latm": "aac",
    "matroska": "libopus aac flac mp3 ac3 eac3 pcm_s16le pcm_f32le tta wavpack real_144 vorbis",
    "mmf": "adpcm_yamaha",
    "mov": "aac pcm_s16le alac adpcm_ima_qt pcm_alaw nellymoser mp3",
    "mp2": "mp2",
    "mp3": "mp3",
    "mp4": "aac alac flac libopus mp3 ac3 eac3 pcm_s16le",
    "mpeg": "mp2 ac3 pcm_dvd",
    "mpegts": "aac mp2 mp3 ac3 eac3 libopus",
    "mxf_opatom": "pcm_s16le",
    "nut": "aac mp3 pcm_s16le adpcm_ms flac libopus",
    "oga": "flac",
    "ogg": "libopus flac vorbis",
    "ogv": "libopus",
    "opus": "libopus",
    "rm": "ac3 real_144 aac",
    "smjpeg": "pcm_s16le",
    "sox": "pcm_s32le pcm_s32be",
    "spdif": "ac3 mp3",
    "spx": "libopus",
    "svcd": "mp2",
    "swf": "mp3",
    "tta": "tta",
    "vcd": "mp2",
    "vob": "ac3",
    "voc": "pcm_s16le pcm_u8 pcm_alaw",
    "w64": "pcm_s16le mp3 adpcm_ima_wav",
    "wav": (
        "pcm_s16le pcm_u8 pcm_s24le pcm_s64le pcm_f32le pcm_f64le pcm_alaw adpcm_ms adpcm_ima_wav"
        " adpcm_swf adpcm_yamaha mp3 mp2 ac3 libopencore_amrnb g722 g726 g723_1 dfpwm flac wmav2"
    ),
    "webm": "libopus vorbis",
    "wtv": "mp3 pcm_s16le",
    "wv": "wavpack",
}
"""FFmpeg's muxers that write sound alone, and the codecs that they are tried with."""
RAW = (
    *("alaw", "aptx", "aptx_hd", "dfpwm", "f32be", "f32le", "f64be", "f64le", "g722", "g726"),
    *("g726le", "mulaw", "roq", "rso", "s16be", "s16le", "s24be", "s24le", "s32be", "s32le", "s8"),
    *("sbc", "u16be", "u16le", "u24be", "u24le", "u32be", "u32le", "u8", "vidc", "wsaud", "daud"),
    *("g723_1", "asf_stream"),
)
"""FFmpeg's muxers whose files have nothing at their beginning that tells what they are."""
_CODECS_OF_RAW = {
    "alaw": "pcm_alaw",
    "mulaw": "pcm_mulaw",
    "vidc": "pcm_vidc",
    "daud": "pcm_s24daud",
    "roq": "roq_dpcm",
    "rso": "pcm_u8",
    "wsaud": "adpcm_ima_ws",
    "asf_stream": "mp3",
    **{name: name for name in ("aptx", "aptx_hd", "dfpwm", "g722", "g726", "g726le", "sbc")},
    "g723_1": "g723_1",
}
"""Of others the name of the muxer is that of its PCM."""
OTHER_MUXERS = (
    *("a64", "ac4", "amv", "apm", "apng", "apv", "ass", "avif", "avs2", "avs3", "bit", "cavsvideo"),
    *("dirac", "dnxhd", "dv", "evc", "filmstrip", "fits", "gif", "h261", "h263", "h264", "hevc"),
    *("ico", "image2", "image2pipe", "ivf", "jacosub", "lrc", "m4v", "mcc", "microdvd", "mjpeg"),
    *("mpeg1video", "mpeg2video", "mpjpeg", "obu", "rcwt", "scc", "srt", "sup", "ttml", "vc1"),
    *("vc1test", "vvc", "webp", "webvtt", "yuv4mpegpipe", "film_cpk", "mxf", "mxf_d10", "psp"),
    *("alsa", "oss", "fbdev", "video4linux2,v4l2", "sdl,sdl2", "xv", "opengl", "caca", "pulse"),
    *("hls", "dash", "hds", "segment", "stream_segment,ssegment", "smoothstreaming", "tee", "fifo"),
    *("rtp", "rtsp", "sap", "rtp_mpegts", "whip", "webm_chunk", "webm_dash_manifest"),
    *("crc", "framecrc", "framehash", "framemd5", "hash", "md5", "streamhash", "uncodedframecrc"),
    *("ffmetadata", "null", "data", "rawvideo", "mkvtimestamp_v2"),
    *("aea", "argo_cvg", "codec2", "codec2raw", "dts", "gsm", "iamf", "ilbc", "lc3", "mlp", "oma"),
    *("truehd", "chromaprint"),
)
"""Those that write pictures or text, to devices, into several files or over the network, sums and
packets without a container; and those for whose codec there is no encoder."""
_ONLY_FILE = "FILE"


def by_pyav_s(data: bytes) -> float:
    """How many seconds FFmpeg finds through nothing but PyAV. Raises av.FFmpegError."""
    length_s = 0.0
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux(audio=0):
            with suppress(av.FFmpegError):
                for frame in packet.decode():
                    assert isinstance(frame, av.AudioFrame)
                    length_s += frame.samples / frame.sample_rate
    return length_s


def by_soundfile_s(data: bytes) -> float:
    """How many seconds libsndfile finds. Raises soundfile.LibsndfileError."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        return float(file.frames / file.samplerate)


@dataclass(frozen=True)
class Format:
    """A format of files: who writes it, its name there, and its codec."""

    muxer: str
    codec: str
    is_of_libsndfile: bool = False
    endian: str = _ONLY_FILE

    def __str__(self) -> str:
        return f"{self.muxer}-{self.codec}" + ("" if self.endian == _ONLY_FILE else "-big")

    @cached_property
    def data(self) -> bytes:
        """The melody as a file."""
        if self.is_of_libsndfile:
            return by_libsndfile(self.muxer, self.codec, self.endian)
        rates = RATES_OF.get(self.codec, RATES_OF.get(self.muxer, RATES))
        for rate_hz, channels in rates:
            try:
                return by_ffmpeg(self.muxer, self.codec, rate_hz, channels)
            except (av.FFmpegError, ValueError):
                continue
        raise AssertionError(f"{self} cannot be written")

    @cached_property
    def whole(self) -> Heard:
        """What is heard of the melody."""
        return heard(io.BytesIO(self.data))


def by_libsndfile(kind: str, subtype: str, endian: str = _ONLY_FILE) -> bytes:
    """The melody as a file of libsndfile's."""
    rate_hz = {"WVE": 8_000, "XI": 44_100}.get(kind, SAMPLE_RATE_HZ)
    if subtype == "GSM610" and kind != "AIFF":
        rate_hz = 8_000
    file = io.BytesIO()
    soundfile.write(file, melody(rate_hz), rate_hz, format=kind, subtype=subtype, endian=endian)
    return file.getvalue()


def by_ffmpeg(muxer: str, codec: str, rate_hz: int, channels: int = 1) -> bytes:
    """The melody as a file of FFmpeg's."""
    file, kind = io.BytesIO(), av.Codec(codec, "w")
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate_hz, options={"strict": "-2"})
        assert isinstance(stream, av.AudioStream)
        stream.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        if kind.audio_formats:
            stream.format = kind.audio_formats[0]
        if codec in BIT_RATES:
            stream.bit_rate = BIT_RATES[codec]
        for frame in (*_frames(), None):
            container.mux(stream.encode(frame))
    return file.getvalue()


def raw(muxer: str) -> bytes:
    """The melody without a header."""
    codec = _CODECS_OF_RAW.get(muxer, f"pcm_{muxer}")
    return Format(muxer, codec).data


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


def _formats() -> Iterator[Format]:
    for muxer, codecs in MUXERS.items():
        yield from (Format(muxer, codec) for codec in codecs.split())
    for kind in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(kind):
            if kind != "RAW" and (kind, subtype) not in NOT_WRITTEN:
                yield Format(kind, subtype, is_of_libsndfile=True)
    yield from (Format("WAV", codec, True, "BIG") for codec in ("PCM_16", "FLOAT", "ULAW"))
    yield from (Format("AU", codec, True, "LITTLE") for codec in ("PCM_16", "FLOAT"))


NOT_WRITTEN = {
    *(("SDS", f"PCM_{bits}") for bits in ("S8", "16", "24")),  # see by_libsndfile
    *(("AIFF", f"DWVW_{bits}") for bits in (12, 16, 24)),  # libsndfile cannot read them again
    *(("MP3", f"MPEG_LAYER_{number}") for number in ("I", "II")),  # it has no encoder
    ("WAV", "MPEG_LAYER_III"),
    *(("SD2", f"PCM_{bits}") for bits in ("S8", "16", "24", "32")),  # its header is a second file
}
"""What libsndfile lists and does not write."""
FORMATS = tuple(_formats())
