"""Decodes one recording by FFmpeg, through PyAV: frames of sound, and faults where there are none."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.packet import Packet

from lanscribe.media.parts import Stream
from lanscribe.media.source import Window

_DEMUXERS = (
    "mov,matroska,mp3,aac,ogg,flac,wav,w64,aiff,caf,au,amr,asf,avi,flv,mpegts,mpeg,ac3,eac3,wv,ape"
)
"""The formats that FFmpeg may detect: none that names other files or addresses, as playlists do."""
_TIMED = {"mov", "matroska", "ogg", "flac", "mpegts", "mpeg", "asf", "flv", "nut"}
"""The formats in which a frame has its own time; in others it follows the one before."""
_CHECKED = {"flac", "tta", "wavpack"}
"""Codecs whose frames have a checksum. Of the others, FFmpeg must also play what is a little wrong."""
_PACKET_BYTES = 2**24
"""The largest packet that is decoded; it holds three seconds of the sound with the highest rate."""
_SAMPLES_AT_ONCE = 2**21
"""The most samples of a channel in one packet; the longest real ones, Monkey's Audio, have half."""
_PATIENCE = 100
"""After so many errors in a row nothing more can be read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Some bytes that could not be decoded: how many, how long they are if known, and why."""

    size_bytes: int
    length_s: float
    why: str


def open_container(file: Stream | Window) -> InputContainer:
    """The recording as FFmpeg sees it. Raises av.FFmpegError if it cannot read it."""
    options = {"format_whitelist": _DEMUXERS, "codec_whitelist": _decoders_of_sound()}
    if isinstance(file, Stream):
        options |= {"ignore_length": "1"}  # of a WAV; Stream knows better
    return av.open(file, "r", metadata_errors="replace", options=options)


@cache
def _decoders_of_sound() -> str:
    """The decoders that FFmpeg may use, all of sound: probing a video track may take gigabytes."""
    names = []
    for name in av.codecs_available:
        with suppress(UnknownCodecError):  # it has only an encoder
            if av.Codec(name).type == "audio":
                names.append(name)
    return ",".join(names)


def tracks_of(container: InputContainer) -> list[AudioStream]:
    """The tracks of sound that can be decoded."""
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    for track in tracks:
        track.codec_context.options = {"max_samples": str(_SAMPLES_AT_ONCE)}
        if track.codec_context.name in _CHECKED:
            track.codec_context.options |= {"err_detect": "crccheck+explode"}
    return tracks


def is_timed(container: InputContainer) -> bool:
    """Whether the frames have their own times."""
    return container.format.name.split(",")[0] in _TIMED


def frames(container: InputContainer, track: AudioStream) -> Iterator[AudioFrame | Fault]:
    """The sound of a track, frame by frame, and what cannot be decoded of it."""
    place: int | None = None
    for packet in _packets(container, track):
        if isinstance(packet, Fault):
            yield packet
            continue
        if not is_timed(container) and place is not None and packet.pos is not None:
            if packet.pos > place:
                yield Fault(packet.pos - place, 0.0, "bytes that are no sound")
        place = None if packet.pos is None else packet.pos + packet.size
        yield from _decoded(packet)


def _packets(container: InputContainer, track: AudioStream) -> Iterator[Packet | Fault]:
    errors = 0
    while errors < _PATIENCE:
        try:
            for packet in container.demux(track):
                errors = 0
                yield packet
            return
        except EOFError:
            return
        except (av.FFmpegError, ValueError) as error:
            errors += 1
            yield Fault(0, 0.0, reason(error))


def _decoded(packet: Packet) -> Iterator[AudioFrame | Fault]:
    length_s = float((packet.duration or 0) * (packet.time_base or 0))
    if packet.size > _PACKET_BYTES:
        why = f"a packet of {packet.size} bytes is too large to decode"
        yield Fault(packet.size, length_s, why)
        return
    try:
        for frame in packet.decode():
            if isinstance(frame, AudioFrame) and frame.samples:
                yield frame
    except EOFError:
        return
    except (av.FFmpegError, ValueError) as error:
        if packet.size:  # else it is the end
            yield Fault(packet.size, length_s, reason(error))


def reason(error: Exception) -> str:
    """The reason of an error of FFmpeg as a sentence without a period."""
    text = str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)
    return text or type(error).__name__
