"""Decodes sound files block by block: an hour takes no more memory than a second.

libsndfile reads WAV, FLAC, Ogg, AIFF and their like; FFmpeg, by way of PyAV, reads MP3 and what
phones, browsers and cameras record (M4A, MP4, WebM, Matroska ...).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, TypeVar

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer

from lanscribe.errors import LimitError, ProtocolError
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.pcm import bounded
from lanscribe.speech.resampler import Resampler

_T = TypeVar("_T")

KINDS = "WAV, FLAC, Ogg, Opus, MP3, AIFF, M4A, MP4, WebM"
_BLOCK_VALUES = 2**16
"""How many values are decoded at once, in all channels together; 4 s of 16 kHz mono."""
_BLOCK_S = 0.5
_HEADS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"Crea",
    b"2BIT", b"PVF1", b" paf", b"fap ", b"MATL", b"Exte", b"d\xa3",
)  # fmt: skip
"""The beginnings of files that libsndfile gets. It gets no MP3, MIDI or ALAC, and nothing that it
takes for one: libraries that it uses for these write messages to the server's terminal."""
_MPEG_TAGS = (b"\x50\0", b"\x55\0")
"""Format tags of MPEG audio in a WAV file, at their usual place: FFmpeg decodes it, too."""
_DEMUXERS = (
    "mov,matroska,mp3,aac,ogg,flac,wav,w64,aiff,caf,au,amr,asf,avi,flv,mpegts,mpeg,ac3,eac3,wv,ape"
)
"""The formats that FFmpeg may detect: none that names other files or addresses, as playlists do."""
_PACKET_BYTES = 2**24
"""The largest packet that is decoded; it holds three seconds of the sound with the highest rate."""
_SAMPLES_AT_ONCE = 2**21
"""The most samples of a channel in one packet; the longest real ones, Monkey's Audio, have half."""
_GAP_S = 0.1
"""A hole in a recording that is longer than this is filled with silence, up to PAUSE_S."""
PAUSE_S = 1.0
"""The rest of a hole is left out: a pause separates two sentences and costs the engine nothing."""
SECONDS_PER_BYTE = 0.05
"""No codec takes fewer than 20 bytes for a second of sound. Speech takes 600 (AMR at 4.75 kbit/s)
and more, its pauses 25 (Opus with DTX, in packets of 120 ms) to 50 (AMR). Silence in AAC, Vorbis
and Opus takes 64 (AAC at 8 kHz) to 600, as measured."""
SILENCE_SHARE = 0.1
"""The share of digital silence that counts: a second of it takes 7 bytes in WavPack (8 kHz), 13
(4 kHz) to 150 (48 kHz) in FLAC, and next to no work."""
FREE_S = 60.0
"""Any file may be this long."""
LONGEST_S = 86_400.0
"""The longest recording, its holes included: a day."""
_SHORT_BY_S = 1.0
"""A recording that ends this much before it says it does is damaged."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of a recording that is missing in its file.

    skipped_s: the time between the samples before and after it. paused_s: the time of it that is
    silence at the end of the samples before.
    """

    skipped_s: float
    paused_s: float


Piece = Samples | Hole
"""A recording is a sequence of these."""


@asynccontextmanager
async def opened(file: BinaryIO) -> AsyncIterator[AsyncIterator[Piece]]:
    """The sound of `file` in blocks of any length, decoded in a thread of its own.

    Raises ProtocolError when there is no sound in it. Iterating raises ProtocolError when it is
    damaged later on, and LimitError when it becomes too long. After the context the file is still
    open, and no thread uses it.
    """
    blocks = decode(file)
    thread = ThreadPoolExecutor(1, thread_name_prefix="media")
    try:
        first = await _in(thread, lambda: next(blocks))
        yield _following(first, blocks, thread)
    finally:
        await asyncio.shield(_in(thread, blocks.close))  # after the step that may be under way
        thread.shutdown(wait=False)


async def _following(
    first: Piece, blocks: Iterator[Piece], thread: ThreadPoolExecutor
) -> AsyncIterator[Piece]:
    block: Piece | None = first
    while block is not None:
        yield block
        block = await _in(thread, lambda: next(blocks, None))


def _in(thread: ThreadPoolExecutor, work: Callable[[], _T]) -> "asyncio.Future[_T]":
    return asyncio.get_running_loop().run_in_executor(thread, work)


class _Length:
    """The length of a recording so far, checked against what its bytes can hold."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._samples = self._zeros = 0
        self._skipped_s = 0.0

    @property
    def at_s(self) -> float:
        return duration_s(self._samples) + self._skipped_s

    @property
    def has_sound(self) -> bool:
        return self._samples > 0

    def add(self, piece: Piece) -> None:
        """Add a piece. Raises LimitError when the recording has become too long."""
        if isinstance(piece, Hole):
            self._skipped_s += piece.skipped_s
        else:
            self._samples += len(piece)
            self._zeros += len(piece) - int(np.count_nonzero(piece))
        if self._counted_s > FREE_S + SECONDS_PER_BYTE * self._size_bytes:
            raise LimitError(
                "recording_too_long",
                f"got more than {duration_s(self._samples):.0f} s of sound out of"
                f" {self._size_bytes} bytes; no codec takes so few: send it as WAV",
            )
        if self.at_s > LONGEST_S:
            raise LimitError(
                "recording_too_long",
                f"got a recording of more than {LONGEST_S / 3600:g} h; send a part at a time",
            )

    @property
    def _counted_s(self) -> float:
        return duration_s(self._samples) - (1 - SILENCE_SHARE) * duration_s(self._zeros)


def decode(file: BinaryIO) -> Generator[Piece, None, None]:
    """The sound of `file`: blocks of shape (n,) with n > 0, and holes.

    Raises ProtocolError before the first block when there is no sound in it, and later when it is
    damaged. Raises LimitError when it is longer than its bytes can hold, or than LONGEST_S.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not size_bytes:
        raise _invalid("got an empty file; expected sound")
    sound = _opened_by_libsndfile(file)
    pieces = _decode_by_ffmpeg(file, size_bytes) if sound is None else _decode_by_libsndfile(sound)
    length = _Length(size_bytes)
    try:
        for block in _merged(pieces):
            length.add(block)
            yield block
    except (soundfile.LibsndfileError, av.FFmpegError, ValueError) as error:
        at = f"damaged at {length.at_s:.1f} s" if length.has_sound else "damaged"
        raise _invalid(f"the file is {at}: {_reason(error)}") from error
    if not length.has_sound:
        raise _invalid(f"got a file of {size_bytes} bytes with no sound at all")


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same sound in blocks of at least _BLOCK_S; shorter only before a hole and at the end.

    No block is empty.
    """
    waiting: list[Samples] = []
    count = 0  # a running sum, because a packet may hold a single sample
    for piece in pieces:
        is_hole = isinstance(piece, Hole)
        if not isinstance(piece, Hole) and len(piece):
            waiting.append(piece)
            count += len(piece)
        if duration_s(count) >= _BLOCK_S or (is_hole and count):
            yield np.concatenate(waiting)
            waiting, count = [], 0
        if is_hole:
            yield piece
    if count:
        yield np.concatenate(waiting)


def _opened_by_libsndfile(file: BinaryIO) -> soundfile.SoundFile | None:
    """The file, opened; None when FFmpeg has to read it."""
    head = file.read(22)
    file.seek(0)
    is_mpeg = head[8:16] == b"WAVEfmt " and head.endswith(_MPEG_TAGS)
    if is_mpeg or not head.startswith(_HEADS):
        return None
    try:
        return soundfile.SoundFile(_Source(file))
    except soundfile.LibsndfileError:
        return None


class _Source:
    """A file for libsndfile, which seeks to before the beginning of a damaged one.

    It does so in calls from C, where Python can only print an exception and go on.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.tell = file.tell
        self.read = file.read
        self.readinto = file.readinto  # type: ignore[attr-defined]
        self._seek = file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek and return the position, which an impossible offset does not change."""
        with suppress(ValueError, OSError, OverflowError):
            self._seek(offset, whence)
        return self.tell()


def _decode_by_libsndfile(sound: soundfile.SoundFile) -> Iterator[Samples]:
    with sound:
        resampler = Resampler(sound.samplerate)
        frames = max(1, _BLOCK_VALUES // sound.channels)
        left = sound.frames
        while len(block := sound.read(frames, dtype="float32", always_2d=True)):
            left -= len(block)
            yield _mono(resampler, block.T)
        yield resampler.flush()
        if left > 0:
            raise ValueError(f"{left} of its {sound.frames} samples are missing")


def _decode_by_ffmpeg(file: BinaryIO, size_bytes: int) -> Iterator[Piece]:
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    try:
        container = av.open(
            file,
            "r",
            metadata_errors="replace",
            options={"format_whitelist": _DEMUXERS, "codec_whitelist": _decoders_of_sound()},
        )
    except av.FFmpegError as error:
        raise _invalid(
            f"got {size_bytes} bytes that begin with {head!r}, which is not a readable sound file;"
            f" expected a complete file of {KINDS} or the like"
        ) from error
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            raise _invalid(
                f"got a file ({container.format.long_name}) without a readable sound track; its"
                f" tracks: {_tracks(container)}"
            )
        stream.codec_context.options = {"max_samples": str(_SAMPLES_AT_ONCE)}
        yield from _decode_stream(container, stream)


@cache
def _decoders_of_sound() -> str:
    """The decoders that FFmpeg may use, all of sound: probing a video track may take gigabytes."""
    names = []
    for name in av.codecs_available:
        with suppress(UnknownCodecError):  # it has only an encoder
            if av.Codec(name).type == "audio":
                names.append(name)
    return ",".join(names)


def _decode_stream(container: InputContainer, stream: AudioStream) -> Iterator[Piece]:
    resampler = Resampler(stream.rate or 0)
    to_floats = av.AudioResampler(format="flt")  # packed: PyAV reads no planes beyond the eighth
    start_s = (container.start_time or 0) / av.time_base
    position_s = 0.0
    for frame in _frames(container, stream):
        if frame.sample_rate != stream.rate:
            raise ValueError(f"its rate changes from {stream.rate} to {frame.sample_rate} Hz")
        gap_s = 0.0 if frame.time is None else frame.time - start_s - position_s
        if gap_s > _GAP_S:
            yield from _hole(resampler, gap_s, stream.rate)
            position_s += gap_s
        for packed in to_floats.resample(frame):
            channels = packed.to_ndarray().reshape(-1, packed.layout.nb_channels).T
            yield _mono(resampler, channels.astype(np.float32, copy=False))
        position_s += frame.samples / stream.rate
    yield resampler.flush()
    if position_s < _said_s(container, stream) - _SHORT_BY_S:
        raise ValueError(f"it declares {_said_s(container, stream):.1f} s and ends earlier")


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in container.demux(stream):
        if packet.size > _PACKET_BYTES:
            raise ValueError(f"a packet of {packet.size} bytes is too large to decode")
        for frame in packet.decode():
            if isinstance(frame, AudioFrame):
                yield frame


def _hole(resampler: Resampler, gap_s: float, rate_hz: int) -> Iterator[Piece]:
    """Silence for a hole; for a longer one a pause, then the Hole with the time left out."""
    paused_s = min(gap_s, PAUSE_S)
    yield resampler.feed(np.zeros(round(paused_s * rate_hz), dtype=np.float32))
    if gap_s > paused_s:
        yield resampler.flush()
        yield Hole(gap_s - paused_s, paused_s)


def _said_s(container: InputContainer, stream: AudioStream) -> float:
    """The duration that the file declares; 0 if it declares none, or only an estimate."""
    if "mov" in container.format.name and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return 0.0


def _mono(resampler: Resampler, channels: Samples) -> Samples:
    """The mean of channels, shape (channels, n), at 16 kHz."""
    with np.errstate(invalid="ignore"):  # `bounded` refuses values that are not numbers
        mean = channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float64)
    return resampler.feed(bounded(mean.astype(np.float32)))


def _tracks(container: InputContainer) -> str:
    kinds = [stream.type for stream in container.streams]
    return ", ".join(kinds) or "none"


def _reason(error: Exception) -> str:
    if isinstance(error, av.FFmpegError):
        return str(error.strerror)
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string).removeprefix("Error : ")
    return str(error)


def _invalid(message: str) -> ProtocolError:
    return ProtocolError("invalid_file", message)
