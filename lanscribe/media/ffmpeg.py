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

from lanscribe.media.parts import ANY_STREAM, Stream, Window
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
_EVEN = {"mp3", "ac3", "eac3", "wav", "w64"}
"""Those whose frames have a largest size, or all the same."""
_CHECKED = {"flac", "tta", "wavpack"}
"""Codecs whose frames have a checksum. Of others, FFmpeg must also play what is a little wrong."""
_ANALYSED_US = "100000"
"""How much of a stream that still runs is read before its first frame; FFmpeg's own is 5 s."""
_INDEXED = {"mov", "avi", "wtv", "mpeg"}
"""The formats that may end with an index, or padding, as long as a second of sound and more."""
_REST_S, _REST_BYTES = 1.0, 8192
_NO_SOUND = "these bytes are no sound"
_DAMAGED = ("Invalid data found", "Not yet implemented in FFmpeg", "Error number ")
"""How FFmpeg calls what it cannot decode."""
_UNREAD = "the rest of the file cannot be read"
_JUNK_BYTES, _JUNK_SHARE = 2000, 3
"""A packet of such a stream that is larger, and so many times the usual, has junk in it."""
_PACKET_BYTES = 2**24
"""The largest packet that is decoded; it holds three seconds of the sound with the highest rate."""
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
        if file.is_live and file.kind is not ANY_STREAM:
            options |= {"analyzeduration": _ANALYSED_US}
        if file.kind.name == "adts":
            options |= {"fflags": "noparse"}  # the parser tells wrong places after damage
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
        self, container: InputContainer, track: AudioStream, size_bytes: int | None = None
    ) -> None:
        """size_bytes: of the file, if it is not read to its end in any case."""
        self._size_bytes = size_bytes
        self._container = container
        self._track = track
        self._is_even = container.format.name in _EVEN
        self._is_gapless = container.format.name in _GAPLESS
        self._good_end = 0
        self._good_packets, self._good_bytes, self._good_s = 0, 0, 0.0

    def __iter__(self) -> Iterator[AudioFrame | Fault]:
        end: int | None = None
        for packet in self._packets():
            if isinstance(packet, Fault):
                yield packet
                continue
            if end is not None and packet.pos is not None and packet.pos > end:
                yield self._fault(packet.pos - end, _NO_SOUND)
            yield from self._decoded(packet)
            is_placed = self._is_gapless and packet.pos is not None
            end = packet.pos + packet.size if is_placed and packet.pos is not None else None
        if fault := self._rest():
            yield fault

    def _packets(self) -> "Iterator[Packet[AudioStream] | Fault]":
        errors = 0
        while errors < _PATIENCE:
            try:
                for packet in self._container.demux(self._track):
                    errors = 0
                    yield packet
                return
            except EOFError:
                return
            except (av.FFmpegError, ValueError) as error:
                errors += 1
                yield Fault(0.0, reason(error))

    def _decoded(self, packet: "Packet[AudioStream]") -> Iterator[AudioFrame | Fault]:
        if packet.size > _PACKET_BYTES:
            why = f"a packet of {packet.size} bytes is too large to decode"
            yield self._fault_of(packet, why)
            return
        start = self._good_end if packet.pos is None else packet.pos
        try:
            for frame in packet.decode():
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate:
                    self._good_s += frame.samples / frame.sample_rate
                    self._good_end = start + packet.size
                    yield frame
            yield from self._junk_in(packet)
        except EOFError:
            return
        except (av.FFmpegError, ValueError) as error:
            if packet.size:  # else it is the end
                yield self._fault_of(packet, reason(error))

    def _junk_in(self, packet: "Packet[AudioStream]") -> Iterator[Fault]:
        """What follows the frame in a packet that was decoded."""
        self._good_packets += 1
        usual = self._good_bytes / self._good_packets
        if self._is_even and packet.size > max(_JUNK_BYTES, _JUNK_SHARE * usual) and usual:
            self._good_bytes += round(usual)
            yield self._fault(packet.size - round(usual), _NO_SOUND)
        else:
            self._good_bytes += packet.size

    def _rest(self) -> Fault | None:
        """What is behind the last packet with sound, if it is too long for an index."""
        name = self._container.format.name.split(",")[0]
        if not self._size_bytes or name in _INDEXED or len(self._container.streams) > 1:
            return None
        rest_bytes = self._size_bytes - self._good_end
        rest = self._fault(rest_bytes if rest_bytes > _REST_BYTES else 0, _UNREAD)
        return rest if rest.length_s > _REST_S else None

    def _fault_of(self, packet: "Packet[AudioStream]", why: str) -> Fault:
        """A packet without sound, as long as it says, or by its bytes."""
        if packet.stream.codec_context.name in _CHECKED and packet.duration and packet.time_base:
            return Fault(float(packet.duration * packet.time_base), why)
        return self._fault(packet.size, why)

    def _fault(self, size_bytes: int, why: str) -> Fault:
        """Bytes without sound, as long as bytes with sound are on average."""
        return Fault(size_bytes * self._good_s / max(1, self._good_bytes), why)


def reason(error: Exception) -> str:
    """The reason of an error of FFmpeg as a sentence without a period."""
    text = str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)
    if text.startswith(_DAMAGED):
        return "the data are damaged, or of a kind that is not known"
    return text or type(error).__name__
