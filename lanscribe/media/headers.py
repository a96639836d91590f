"""What headers, tags and last pages say of the recording that they belong to."""

import re
import struct
from dataclasses import dataclass

from lanscribe.media.source import Source

_HEADER_BYTES = 2**20
"""The chunks before the sound of a WAV take less."""
_UNKNOWN_SIZE = 0x7F00_0000
"""Programs that write a WAV into a pipe declare about 2 or 4 GiB."""
_UNCOMPRESSED = {1, 3, 6, 7}
"""The codes of PCM, floats, A-law and mu-law."""
_EXTENSIBLE = 0xFFFE
"""The code of a longer header, which has the codec's own later."""
TAG = re.compile(
    rb"ID3[\x02-\x04][\x00-\x0f][\x00-\xf0][\x00-\x7f]{4}"
    rb"|APETAGEX[\xd0-\xe8]\x07\0\0.{16}"
    rb"|TAG(?=.{125}(?:\xff[\xe0-\xff]|ID3|APETAGEX|\Z))",
    re.DOTALL,
)
"""ID3v2 (id3.org, v2.4.0 structure, 3.1), APEv2 and ID3v1."""
TAG_BYTES = 128
"""The length of an ID3v1; the last 32 of an APEv2 are its footer."""
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The objects of an ASF (WMA, WMV): its header, and the properties of the file in that."""
_ASF_BYTES = 4096
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
"""The elements of a Matroska: its header, and the one that holds everything (RFC 9559)."""
_XING = re.compile(rb"(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})", re.DOTALL)
_MPEG_HEADER_BYTES = 200
"""The first frame has its Xing header within this."""
_MPEG_RATES_HZ = (44_100, 48_000, 32_000, 0)


def tag_bytes(tag: bytes) -> int:
    """The length of a tag by its first bytes."""
    if tag.startswith(b"TAG"):
        return TAG_BYTES
    if tag.startswith(b"APETAGEX"):
        is_header = tag[23] & 0x20
        return 32 + (int.from_bytes(tag[12:16], "little") if is_header else 0)
    size = 0
    for byte in tag[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if tag[5] & 0x10 else 0)


def after_tags(source: Source) -> int:
    """Where a file begins behind the ID3v2 tags before it, which may be before any kind."""
    place = 0
    while (found := TAG.match(source.head_at(place, 10))) and found[0].startswith(b"ID3"):
        place += tag_bytes(found[0])
    return place


def ends_with_tag(tail: bytes) -> bool:
    """Whether a file whose last TAG_BYTES these are ends with a tag, which is no damaged sound."""
    return tail.startswith(b"TAG") or tail[-32:].startswith(b"APETAGEX")


def ogg_end_s(first: bytes, tail: bytes) -> float | None:
    """When an Ogg with Opus or Vorbis ends, by the first bytes and the last page; None if unknown.

    By RFC 3533, 6, RFC 7845, 4 and 5.1, and the Vorbis I specification, 4.2.2.
    """
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or page[14:18] != first[14:18]:  # of another track
        return None
    samples = int.from_bytes(page[6:14], "little", signed=True)
    if first[28:36] == b"OpusHead":
        return (samples - int.from_bytes(first[38:40], "little")) / 48_000
    rate_hz = int.from_bytes(first[40:44], "little") if first[28:35] == b"\x01vorbis" else 0
    return samples / rate_hz if rate_hz else None


def is_cut_off_ogg(tail: bytes) -> bool:
    """Whether an Ogg that ends with these bytes lacks its last page, or a part of that."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]) or not page[5] & 4


@dataclass(frozen=True, slots=True)
class Wave:
    """What the header of a WAV says: where its sound ends, and how long it is.

    Both None if it does not know, as a program that writes into a pipe. declared_s is also None of
    a codec that compresses, because programs write wrong byte rates for these.
    """

    end: int | None
    declared_s: float | None


def wave_of(source: Source, start: int) -> Wave:
    """The header of the WAV at a place."""
    place, size64, form = start + 12, 0, (0,) * 6
    order = "big" if source.head_at(start, 4) == b"RIFX" else "little"
    while len(chunk := source.head_at(place, 36)) >= 8 and place < start + _HEADER_BYTES:
        name, size = chunk[:4], int.from_bytes(chunk[4:8], order)  # type: ignore[arg-type]
        if name == b"ds64":  # RF64 (EBU Tech 3306)
            size64 = int.from_bytes(chunk[16:24], "little")
        elif name == b"fmt " and len(chunk) >= 24:
            form = struct.unpack_from(f"{'>' if order == 'big' else '<'}HHIIHH", chunk, 8)
            if form[0] == _EXTENSIBLE:
                form = (int.from_bytes(chunk[32:34], order), *form[1:])  # type: ignore[arg-type]
        elif name == b"data":
            return _wave(place + 8, size64 or size, form, source)
        place += 8 + size + size % 2
    return Wave(None, None)


def _wave(sound_at: int, size: int, form: tuple[int, ...], source: Source) -> Wave:
    """form: the codec, channels, rate in Hz, byte rate, bytes of a frame, and bits of a sample."""
    is_there = source.size_bytes >= sound_at + size
    codec, channels, rate_hz, byte_rate, frame_bytes, bits = form
    if not size or (size >= _UNKNOWN_SIZE and not is_there):
        return Wave(None, None)
    if codec not in _UNCOMPRESSED:
        return Wave(sound_at + size, None)
    bytes_per_s = rate_hz * (frame_bytes or channels * bits // 8)  # the byte rate may be wrong
    is_known = byte_rate and bytes_per_s
    return Wave(sound_at + size, size / bytes_per_s) if is_known else Wave(None, None)


def ends_wave(following: bytes, left: float) -> bool:
    """Whether the sound ends before these bytes: there are none, a chunk, a tag, or a WAV."""
    chunk = following[1:] if following[:1] == b"\0" else following  # chunks begin at even places
    size = int.from_bytes(chunk[4:8], "little")
    is_chunk = bool(re.match(rb"[ -~]{4}", chunk)) and size <= left
    return not following or is_chunk or chunk.startswith((b"RIFF", b"ID3", b"TAG", b"APETAGEX"))


def mpeg_length_s(frame: bytes) -> float | None:
    """How long an MP3 is by its Xing header, which some programs write into the first frame."""
    found = _XING.search(frame[:_MPEG_HEADER_BYTES])
    if not found or len(frame) < 4:
        return None
    version = frame[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    rate_hz = _MPEG_RATES_HZ[frame[2] >> 2 & 3] >> {3: 0, 2: 1}.get(version, 2)
    samples = int.from_bytes(found[1], "big") * (1152 if version == 3 else 576)
    return samples / rate_hz if rate_hz and samples else None


def declared_bytes(source: Source, start: int) -> int:
    """How long a recording is by its header; 0 if that is unknown.

    Known of a RIFF, an IFF, a Wave64, an ASF, a CAF and a Matroska.
    """
    head = source.head_at(start, _ASF_BYTES)
    if head.startswith(_ASF):
        return int.from_bytes(head.partition(_ASF_FILE)[2][24:32], "little")
    if head.startswith(b"riff"):
        return int.from_bytes(head[16:24], "little")
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little")
    if head.startswith((b"FORM", b"RIFX")):
        return int.from_bytes(head[4:8], "big")
    if head.startswith(_EBML):
        return _bytes_of_matroska(head)
    return _bytes_of_caf(source, start) if head.startswith(b"caff") else 0


def _bytes_of_matroska(head: bytes) -> int:
    """The header and the segment, whose size is unknown while it is recorded."""
    first, size = _ebml_size(head, 4)
    segment = first + (size or 0)
    if head[segment : segment + 4] != _SEGMENT:
        return 0
    first, size = _ebml_size(head, segment + 4)
    return first + size if size is not None else 0


def _ebml_size(data: bytes, place: int) -> tuple[int, int | None]:
    """Where the contents of an element begin, and their size; None if unknown (RFC 8794, 4)."""
    width = 9 - data[place : place + 1].ljust(1, b"\1")[0].bit_length()
    most = (1 << 7 * width) - 1
    size = int.from_bytes(data[place : place + width], "big") & most
    return place + width, None if size == most else size


def is_broken_mp4(source: Source, start: int, end: int) -> bool:
    """Whether an MP4 in fragments, which have no index, ends or breaks off within a box."""
    is_fragmented = False
    while start < end:
        box = source.head_at(start, 16)
        size = int.from_bytes(box[:4], "big")
        is_fragmented |= box[4:8] == b"moof"
        if size == 1:
            size = int.from_bytes(box[8:16], "big")
        if not size and box[4:8] == b"mdat":  # it goes to the end
            return False
        if size < 8 or start + size > end:
            return is_fragmented and not TAG.match(source.head_at(start, TAG_BYTES))
        start += size
    return False


def _bytes_of_caf(source: Source, start: int) -> int:
    """Apple's Core Audio Format: chunks with sizes of 64 bits; that of the sound may be -1."""
    place = start + 8
    while len(chunk := source.head_at(place, 12)) == 12 and place < start + _HEADER_BYTES:
        size = int.from_bytes(chunk[4:], "big", signed=True)
        if chunk.startswith(b"data") or size < 0:
            return max(0, place + 12 + size - start)
        place += 12 + size
    return 0
