"""Finds where one recording ends in a file and the next begins, and the tags among its sound.

Recordings are joined by `cat`, by podcast servers that insert parts, and by recorders that continue;
a chained Ogg is one by its standard (RFC 3533, 4). Of most kinds FFmpeg plays only the first part,
and it takes tags inside an MP3 for damaged sound.
"""

import re
from dataclasses import dataclass

from lanscribe.media.source import Source

_STEP_BYTES = 2**16
_SEEN_BYTES = 200
"""No beginning or tag is recognised by more bytes."""
_TAIL_BYTES = 70_000
"""More than the longest page of an Ogg."""
_HEADER_BYTES = 2**20
"""The chunks before the sound of a WAV take less."""
_UNKNOWN_SIZE = 0x7F00_0000
"""Programs that write a WAV into a pipe declare about 2 or 4 GiB."""
_OGG_BODY = re.compile(rb"OggS\0[\x00\x01\x04\x05]")
"""A page that is not the first of its track."""
_TAG = re.compile(
    rb"ID3[\x02-\x04][\x00-\x0f][\x00-\xf0][\x00-\x7f]{4}"
    rb"|APETAGEX[\xd0-\xe8]\x07\0\0.{16}"
    rb"|TAG(?=.{125}(?:\xff[\xe0-\xff]|ID3|APETAGEX|\Z))",
    re.DOTALL,
)
"""ID3v2 (id3.org, v2.4.0 structure, 3.1), APEv2 and ID3v1."""


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
    FileKind("caf", begins(rb"caff\0\1\0\0desc")),
    FileKind("w64", begins(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0")),
    FileKind("au", begins(rb"\.snd\0\0\0.{9}\0\0\0.\0.{2}\0\0\0[\x01-\x20]")),
    FileKind("tta", begins(rb"TTA1[\1\2\3]\0[\1-\x20]\0[\1-\x20]\0")),
)
"""Those whose recordings can follow one another in a file; the first that matches holds."""


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
        self.is_cut_off = False
        """Whether the recording ended before its own end."""
        self._source = source
        self._kind = kind
        self._start = self._place = start
        self._wave = wave_of(source, start) if kind.name == "wav" else None
        self._limit = self._wave.end if self._wave else None
        self._ready = self._tail = b""

    @property
    def declared_s(self) -> float | None:
        """How long the recording is by its first bytes; None if they do not say it."""
        return self._wave.declared_s if self._wave else None

    def read(self, count: int) -> bytes:
        """The next bytes, at most `count`; b"" only at the end."""
        while not self._ready and self.end is None:
            self._ready = self._next()
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
            self._finish(self._place + at)
        self._place += at + skipped
        return data[:at]

    def _ahead(self) -> bytes:
        """The bytes from here on: more than _SEEN_BYTES, or all that are left."""
        data = self._source.read_at(self._place, _STEP_BYTES)
        while len(data) <= _SEEN_BYTES:
            more = self._source.read_at(self._place + len(data), _STEP_BYTES)
            if not more:
                break
            data += more
        return data

    def _mark(self, data: bytes) -> tuple[int, int] | None:
        """Where the next recording begins in the data, and 0; or a tag, and its length."""
        if self._kind.is_framed:
            tag = _TAG.search(data)
            return (tag.start(), _tag_bytes(tag[0])) if tag else None
        first = 1 if self._place == self._start else 0
        for begin in self._kind.begin.finditer(data, first):
            if self._is_new(data[: begin.start()]):
                return begin.start(), 0
        return None

    def _is_new(self, before: bytes) -> bool:
        """Whether what begins after these bytes is another recording.

        An Ogg begins with a page for each of its tracks.
        """
        return self._kind.name != "ogg" or bool(_OGG_BODY.search(self._tail + before))

    def _before_limit(self, limit: int) -> bytes:
        """The next bytes up to where the sound of a WAV ends by its header."""
        if self._place < limit:
            data = self._source.read_at(self._place, min(limit - self._place, _STEP_BYTES))
            self._place += len(data)
            if not data:
                self._finish(self._place)
            return data
        following = self._source.read_at(limit, 12)
        if _ends_wave(following, self._source.size_bytes - limit):
            self._finish(limit)
        self._limit = None  # else the header was written before the sound, as of a live recording
        return b""

    def _finish(self, place: int) -> None:
        self.end = place
        if self._limit is not None and place < self._limit:
            self.is_cut_off = True
        elif self._kind.name == "ogg":
            self.is_cut_off = _is_cut_off_ogg(self._tail)


def _tag_bytes(tag: bytes) -> int:
    """The length of a tag by its first bytes."""
    if tag.startswith(b"TAG"):
        return 128
    if tag.startswith(b"APETAGEX"):
        is_header = tag[23] & 0x20
        return 32 + (int.from_bytes(tag[12:16], "little") if is_header else 0)
    size = 0
    for byte in tag[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if tag[5] & 0x10 else 0)


def _is_cut_off_ogg(tail: bytes) -> bool:
    """Whether an Ogg that ends with these bytes lacks its last page, or a part of that."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]) or not page[5] & 4


@dataclass(frozen=True, slots=True)
class Wave:
    """What the header of a WAV says: where its sound ends, and how long it is.

    Both None if it does not know, as a program that writes into a pipe.
    """

    end: int | None
    declared_s: float | None


def wave_of(source: Source, start: int) -> Wave:
    """The header of the WAV at a place."""
    place, bytes_per_s, size64 = start + 12, 0, 0
    order = "big" if source.read_at(start, 4) == b"RIFX" else "little"
    while len(chunk := source.read_at(place, 36)) >= 8 and place < start + _HEADER_BYTES:
        name, size = chunk[:4], int.from_bytes(chunk[4:8], order)  # type: ignore[arg-type]
        if name == b"ds64":  # RF64 (EBU Tech 3306)
            size64 = int.from_bytes(chunk[16:24], "little")
        elif name == b"fmt ":
            bytes_per_s = int.from_bytes(chunk[16:20], order)  # type: ignore[arg-type]
        elif name == b"data":
            return _wave(place + 8, size64 or size, bytes_per_s, source)
        place += 8 + size + size % 2
    return Wave(None, None)


def _wave(sound_at: int, size: int, bytes_per_s: int, source: Source) -> Wave:
    is_there = source.size_bytes >= sound_at + size
    if not size or not bytes_per_s or (size >= _UNKNOWN_SIZE and not is_there):
        return Wave(None, None)
    return Wave(sound_at + size, size / bytes_per_s)


def _ends_wave(following: bytes, left: int) -> bool:
    """Whether the sound ends before these bytes: there are none, a chunk, a tag, or a WAV."""
    chunk = following[1:] if following[:1] == b"\0" else following  # chunks begin at even places
    size = int.from_bytes(chunk[4:8], "little")
    is_chunk = bool(re.match(rb"[ -~]{4}", chunk)) and size <= left
    return not following or is_chunk or chunk.startswith((b"RIFF", b"ID3", b"TAG"))
