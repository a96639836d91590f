"""Decodes one recording by FFmpeg, through PyAV, to frames of sound and faults between them."""

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

from lanscribe.media.parts import Stream, Window
from lanscribe.media.pieces import Unreadable

_DEMUXERS = (
    "mov,matroska,mp3,aac,loas,ogg,flac,wav,w64,aiff,caf,au,amr,asf,avi,flv,mpegts,mpeg,ac3,eac3,wv,"
    "ape,nut,rm,wtv,gxf,mxf,swf,smjpeg,spdif,tta,tak,shn,mpc,mpc8,dts,dtshd,truehd,mlp,dsf,iff,oma,"
    "qcp,nistsphere,ircam,voc,sox,pvf,mmf,adx,alp,apm,argo_asf,ast,kvag,daud,rso"
)
"""The formats that FFmpeg may detect: none that names other files or addresses, as playlists do."""
_TIMED = {"mov", "matroska", "ogg", "flac", "mpegts", "mpeg", "asf", "flv", "nut", "wv", "tta"}
"""The formats in which a frame has its own time; in others it follows the one before."""
_GAPLESS = {"mp3", "aac", "loas", "ac3", "eac3", "amr", "wv", "dts", "truehd", "mlp"}
"""The formats that are frames and nothing else: bytes between them are damage, not headers."""
_CHECKED = {"flac", "tta", "wavpack"}
"""Codecs whose frames have a checksum. Of others, FFmpeg must also play what is a little wrong."""
_ANALYSED_US = "100000"
"""How much of a stream that still runs is read before its first frame; FFmpeg's own is 5 s."""
_PACKET_BYTES = 2**24
"""The largest packet that is decoded; it holds three seconds of the sound with the highest rate."""
_MPEG_FRAME_BYTES = 1_729
"""The longest frame of MPEG audio: layer II with 384 kbit/s at 32 kHz. A longer packet is one with
bytes after it that are no sound."""
_SAMPLES_AT_ONCE = 2**21
"""The most samples of a channel in one packet; the longest real ones, Monkey's Audio, have half."""
_PATIENCE = 100
"""After so many errors in a row nothing more can be read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be decoded: how long it is as far as its bytes tell, and why."""

    length_s: float
    why: str


def open_container(file: Stream | Window) -> InputContainer:
    """The recording as FFmpeg sees it. Raises av.FFmpegError or Unreadable if it cannot read it."""
    options = {"format_whitelist": _DEMUXERS, "codec_whitelist": _decoders_of_sound()}
    if isinstance(file, Stream):
        options |= {"ignore_length": "1"}  # of a WAV; Stream knows better
        if file.is_live:
            options |= {"analyzeduration": _ANALYSED_US}
    try:
        return av.open(file, "r", metadata_errors="replace", options=options)
    except av.FFmpegError:
        raise
    except ValueError as error:  # of PyAV
        raise Unreadable(str(error)) from error


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


class Frames:
    """The sound of a track frame by frame, and what cannot be decoded of it."""

    def __init__(
        self, container: InputContainer, track: AudioStream, file: Stream | Window
    ) -> None:
        self._container = container
        self._gaps = file.gaps if isinstance(file, Stream) else []
        self._track = track
        self._is_gapless = container.format.name in _GAPLESS
        self._good_bytes, self._good_s = 0, 0.0

    def __iter__(self) -> Iterator[AudioFrame | Fault]:
        end: int | None = None
        for packet in self._packets():
            if isinstance(packet, Fault):
                yield packet
                continue
            if count := self._left_out(packet.pos, end):
                yield self._fault(count, "these bytes are no sound")
            yield from self._decoded(packet)
            if self._container.format.name == "mp3" and packet.size > _MPEG_FRAME_BYTES:
                yield self._fault(packet.size - _MPEG_FRAME_BYTES, "these bytes are no sound")
            is_placed = self._is_gapless and packet.pos is not None
            end = packet.pos + packet.size if is_placed and packet.pos is not None else None

    def _left_out(self, place: int | None, end: int | None) -> int:
        """How many bytes before a packet were left out, since the end of the one before."""
        if place is None:
            return 0
        count = 0 if end is None else max(0, place - end)
        while self._gaps and self._gaps[0][0] <= place:
            count += self._gaps.pop(0)[1]
        return count

    def _packets(self) -> "Iterator[Packet[AudioStream] | Fault]":
        errors = 0
        while errors < _PATIENCE:
            try:
                for packet in self._container.demux(self._track):
                    errors = 0
                    yield packet
                return
            except (EOFError, IndexError):  # PyAV's, at the end, if tracks have appeared meanwhile
                return
            except (av.FFmpegError, ValueError) as error:
                errors += 1
                yield Fault(0.0, reason(error))

    def _decoded(self, packet: "Packet[AudioStream]") -> Iterator[AudioFrame | Fault]:
        if packet.size > _PACKET_BYTES:
            why = f"a packet of {packet.size} bytes is too large to decode"
            yield self._fault(packet.size, why)
            return
        try:
            for frame in packet.decode():
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate:
                    self._good_s += frame.samples / frame.sample_rate
                    yield frame
            self._good_bytes += packet.size
        except EOFError:
            return
        except (av.FFmpegError, ValueError) as error:
            if packet.size:  # else it is the end
                yield self._fault(packet.size, reason(error))

    def _fault(self, size_bytes: int, why: str) -> Fault:
        """Bytes without sound, as long as bytes with sound are on average."""
        return Fault(size_bytes * self._good_s / max(1, self._good_bytes), why)


def reason(error: Exception) -> str:
    """The reason of an error of FFmpeg as a sentence without a period."""
    text = str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)
    return text or type(error).__name__
