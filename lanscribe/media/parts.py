"""Finds where one recording ends in a file and the next begins, and the tags among its sound.

Recordings are joined by `cat`, by podcast servers that insert parts, and by recorders that go on; a
chained Ogg is one by its standard (RFC 3533, 4). FFmpeg plays only the first part of most, and it
takes tags inside an MP3 for damaged sound.
"""

import math
import os
import re
from dataclasses import dataclass

from lanscribe.media.headers import (
    TAG,
    TAG_BYTES,
    declared_bytes,
    ends_wave,
    ends_with_tag,
    is_broken_mp4,
    is_cut_off_ogg,
    mpeg_length_s,
    ogg_end_s,
    tag_bytes,
    wave_of,
)
from lanscribe.media.source import Source

_STEP_BYTES = 2**16
_SEEN_BYTES = 200
"""No beginning or tag is recognised by more bytes."""
_TAIL_BYTES = 70_000
"""More than the longest page of an Ogg."""
_PADDING_BYTES = 8
"""A Wave64 counts the bytes that fill it up, and need not have them."""
_SLACK_BYTES = 100
"""The size of a WAV may count its header, too."""
_MP4_BOXES = {b"ftyp", b"moov", b"styp"}
_OGG_BODY = re.compile(rb"OggS\0[\x00\x01\x04\x05]")
"""A page that is not the first of its track."""


def begins(*patterns: bytes) -> re.Pattern[bytes]:
    """What a recording of a kind begins with."""
    return re.compile(b"|".join(patterns), re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file, as far as it matters where its recordings begin and end.

    begin: what one begins with. is_stream: whether it can be read without seeking, as from a pipe.
    is_framed: whether it is nothing but frames with tags among them, so that it never ends.
    """

    name: str
    begin: re.Pattern[bytes]
    is_stream: bool = False
    is_framed: bool = False


FILE_KINDS = (
    FileKind("wav", begins(rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE(?:[ -~]{4})"), is_stream=True),
    FileKind("flac", begins(rb"fLaC[\x00\x80]\0\0\x22"), is_stream=True),
    FileKind("ogg", begins(rb"OggS\0[\x02\x03\x06\x07]"), is_stream=True),
    FileKind("amr", begins(rb"#!AMR(?:-WB)?\n"), is_stream=True),
    FileKind("adts", begins(rb"\xff[\xf0\xf1\xf8\xf9]"), is_stream=True, is_framed=True),
    FileKind(
        "mpeg", begins(rb"ID3[\x02-\x04]", rb"\xff[\xe2-\xff]"), is_stream=True, is_framed=True
    ),
    FileKind("mov", begins(rb"\0\0\0.ftyp")),
    FileKind("matroska", begins(rb"\x1a\x45\xdf\xa3.{1,40}?(?:webm|matroska)")),
    FileKind("asf", begins(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c")),
    FileKind("avi", begins(rb"RIFF.{4}AVI LIST")),
    FileKind("aiff", begins(rb"FORM.{4}AIF[FC](?:COMM|FVER|MARK|INST|COMT|ID3 )")),
    FileKind("caf", begins(rb"caff\0\x01\0\0desc")),
    FileKind("w64", begins(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0")),
    FileKind("au", begins(rb"\.snd\0\0\0.{9}\0\0\0.\0.{2}\0\0\0[\x01-\x20]")),
    FileKind("flv", begins(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09")),
    FileKind("nut", begins(rb"nut/multimedia container\0")),
    FileKind("rm", begins(rb"\.RMF\0\0\0\x12\0")),
    FileKind("voc", begins(rb"Creative Voice File\x1a\x1a\0")),
    FileKind("wv", begins(rb"wvpk.{4}[\x02-\x10]\x04.{6}\0{4}")),
    FileKind("nist", begins(rb"NIST_1A\n   1024\n")),
    FileKind("svx", begins(rb"FORM.{4}(?:8SVX|16SV)")),
    FileKind("smjpeg", begins(rb"\0\nSMJPEG\0{4}")),
    FileKind("mmf", begins(rb"MMMD.{4}CNTI")),
    FileKind("ape", begins(rb"MAC [\x00-\xff]\x0f\0\0\x34\0\0\0")),
    FileKind("wtv", begins(rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d")),
    FileKind(
        "mat",
        begins(
            rb"(?:\0{4}\x01\0\0\0\x01\0{7}\x0b\0{3}|\0\0\x03\xe8\0\0\0\x01\0\0\0\x01\0{7}\x0b)samplerate\0"
        ),
    ),
    FileKind("ast", begins(rb"STRM.{4}\0[\x00\x01]\0\x10")),
    FileKind("argo_asf", begins(rb"ASF\0\x02\0[\x00\x01]\0")),
    FileKind("tta", begins(rb"TTA1[\x01-\x03]\0[\x01-\x20]\0[\x01-\x20]\0")),
)
"""Those whose recordings can follow one another in a file; the first that matches holds."""
ANY_STREAM = FileKind("", begins(rb"(?!)"), is_stream=True)
"""Any other kind, read from a pipe while it runs."""


def file_kind(head: bytes) -> FileKind | None:
    """The kind of a file by its first bytes; None if it is none of FILE_KINDS."""
    return next((kind for kind in FILE_KINDS if kind.begin.match(head)), None)


def next_begin(source: Source, kind: FileKind, place: int) -> int | None:
    """Where the next recording of a kind begins, from a place on."""
    data = b""
    while block := source.read_at(place + len(data), _STEP_BYTES):
        data += block
        if found := kind.begin.search(data):
            return place + found.start()
        place += max(0, len(data) - _SEEN_BYTES)
        data = data[-_SEEN_BYTES:]
    return None


class Stream:
    """One recording of a source, read from its beginning to its end without seeking.

    Tags between the frames of an MP3 are left out. So are the chunks after the sound of a WAV.
    """

    def __init__(self, source: Source, kind: FileKind, start: int) -> None:
        self.end: int | None = None
        """The place of the end, as soon as it is reached."""
        self.declared_s: float | None = None
        """How long the recording is by its first bytes; None if they do not say it."""
        self._source = source
        self.kind = kind
        self._start = start
        self.place = start
        """How far the source was read."""
        self.is_live = not source.is_complete
        """Whether it may still run."""
        self._limit: int | None = None
        self._wave_end: int | None = None
        self._ready = self._tail = b""
        if kind.name == "wav":
            wave = wave_of(source, start)
            self._limit, self.declared_s = wave.end, wave.declared_s
            self._wave_end = wave.end or 0

    size_bytes = None
    """It is read to its end in any case."""

    @property
    def is_tagged(self) -> bool:
        """Whether it ends with a tag, which FFmpeg may take for damage."""
        return ends_with_tag(self._tail[-TAG_BYTES:])

    @property
    def lacks(self) -> str:
        """Why the recording may be cut off; "" if it is not, or if its kind cannot tell."""
        if self.end is None:
            return ""
        if self.kind.name == "ogg":
            is_cut_off = is_cut_off_ogg(self._tail)
            return "the file ends without the mark of its end" if is_cut_off else ""
        return _lacks(self._source, self._start, self.end, self._wave_end)

    @property
    def end_s(self) -> float | None:
        """When the sound ends by its own times; None if it does not say it."""
        if self.end is None or self.kind.name != "ogg":
            return None
        return ogg_end_s(self._source.head_at(self._start, _SEEN_BYTES), self._tail)

    def read(self, count: int) -> bytes:
        """The next bytes, at most `count`; b"" only at the end."""
        while not self._ready and self.end is None:
            self._ready = self._next()
            if not self._tail and self.kind.is_framed:
                self.declared_s = mpeg_length_s(self._ready)
            self._tail = (self._tail + self._ready)[-_TAIL_BYTES:]
        data, self._ready = self._ready[:count], self._ready[count:]
        return data

    def _next(self) -> bytes:
        """The next bytes; b"" at the end, and where there are only tags."""
        if self._limit is not None:
            return self._before_limit(self._limit)
        data = self._ahead()
        is_last = len(data) <= _SEEN_BYTES
        at, skipped = len(data) if is_last else len(data) - _SEEN_BYTES, 0
        if mark := self._mark(data):
            at, skipped = mark
        if (mark and not skipped) or (is_last and not mark):
            self.end = self.place + at
        self.place += at + skipped
        return data[:at]

    def _ahead(self) -> bytes:
        """The bytes from here on: more than _SEEN_BYTES, or all that are left."""
        self._source.drain(self.place + _SEEN_BYTES + 1)
        return self._source.read_at(self.place, _STEP_BYTES)

    def _mark(self, data: bytes) -> tuple[int, int] | None:
        """Where the next recording begins in the data, and 0; or a tag, and its length."""
        if self.kind.is_framed:
            tag = TAG.search(data)
            return (tag.start(), tag_bytes(tag[0])) if tag else None
        first = 1 if self.place == self._start else 0
        if self.kind.name == "ogg":  # which begins with a page for each of its tracks
            body = _OGG_BODY.search(self._tail + data)
            first = max(first, body.end() - len(self._tail)) if body else len(data)
        begin = self.kind.begin.search(data, first)
        return (begin.start(), 0) if begin else None

    def _before_limit(self, limit: int) -> bytes:
        """The next bytes up to where the sound of a WAV ends by its header."""
        if self.place < limit:
            data = self._source.read_at(self.place, min(limit - self.place, _STEP_BYTES))
            self.place += len(data)
            if not data:
                self.end = self.place
            return data
        following = self._source.head_at(limit, 12)
        end = self._source.size_bytes if self._source.is_complete else math.inf
        if ends_wave(following, end - limit):
            self.end = limit
        self._limit = None  # else the header was written before the sound, as of a live recording
        return b""


class Window:
    """A part of a source as a file that can be sought in, for the libraries.

    An impossible place is ignored: libraries seek to before the beginning of a damaged file, in
    calls from C, where Python can only print the exception and go on.
    """

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        source.drain()
        self._source = source
        self._start = start
        self.end = source.size_bytes if end is None else end
        self.place = start
        self.lacks = _lacks(source, start, self.end)
        """Why the recording may be cut off; "" if it is not, or if its kind cannot tell."""
        self.size_bytes = self.end - start
        tail = source.head_at(max(start, self.end - TAG_BYTES), min(TAG_BYTES, self.size_bytes))
        self.is_tagged = ends_with_tag(tail)
        """Whether it ends with a tag, which FFmpeg may take for damage."""

    def read(self, count: int = -1) -> bytes:
        """The next bytes, at most `count`; b"" only at the end."""
        left = self.end - self.place
        data = self._source.read_at(self.place, left if count < 0 else min(count, left))
        self.place += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with the next bytes; returns how many there were."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        """The place in the part."""
        return self.place - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the part and return it."""
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self.place, os.SEEK_END: self.end}
        place = origin.get(whence, -offset) + offset
        self.place = place if self._start <= place <= self.end else self.place
        return self.tell()


def _lacks(source: Source, start: int, end: int, wave_end: int | None = None) -> str:
    """Why a recording may be cut off, or damaged so that its rest is not found; "" if it is not.

    wave_end: where the sound of a WAV ends by its header, 0 if that is unknown; sizes count less
    than that, because some programs count the header, too.
    """
    if wave_end is not None:
        is_short = wave_end > end + _SLACK_BYTES
    else:
        is_short = declared_bytes(source, start) > end - start + _PADDING_BYTES
    if is_short:
        return "the file is shorter than its header says"
    is_mp4 = source.head_at(start + 4, 4) in _MP4_BOXES
    if is_mp4 and is_broken_mp4(source, start, end):
        return "the rest of the file is damaged or cut off"
    return ""
