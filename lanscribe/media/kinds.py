"""Tells what a file is, by its first bytes, if it is no recording that can be read."""

import re

READABLE = "WAV, FLAC, Ogg, Opus, MP3, AAC, M4A, MP4, WebM, Matroska, AIFF, AMR, WMA or the like"
_SHOWN_BYTES = 16
_NEVER = (
    (rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|BM.{4}\0\0\0\0|RIFF.{4}WEBP", "a picture"),
    (rb"\0\0\0.ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs])", "a picture"),
    (rb"\s*<(?:!doctype html|html|head|body)", "a web page: send the recording, not its page"),
    (rb"#EXTM3U|\[playlist\]|ffconcat|\s*<asx|\s*<\?xml[^>]*>\s*<(?:MPD|playlist|smil)",
     "a playlist: send the recordings that it names"),
    (rb"\s*<(?:\?xml|svg)", "a text in XML"),
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive or an office document: unpack it"),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd",
     "a packed file: unpack it"),
    (rb"MThd", "a MIDI file: it has notes and no sound"),
    (rb"\x7fELF|MZ.{58}", "a program"),
    (rb"SQLite format 3\0", "a database"),
)  # fmt: skip
_LATER = (
    (rb"\x1f\x43\xb6\x75|\xa3[\x40-\xff].?.?\x81", "a WebM"),
    (rb"....(?:moof|styp|sidx)", "an MP4"),
)
_MOVIE = rb"....(?:ftyp|moov|mdat|free|wide|skip)"
_HEADERS = (
    b"wvpk",
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\x1a\x45\xdf\xa3",
)


def refusal(head: bytes) -> str:
    """Why a file that begins with these bytes is no recording; "" if it may be one."""
    if not head:
        return "the file is empty: 0 bytes"
    for pattern, what in _NEVER:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"this is {what}" if ":" in what else f"this is {what}; expected {READABLE}"
    return ""


def guess(head: bytes, size_bytes: int) -> str:
    """Why a file that begins with these bytes, and that no decoder reads, is none for them."""
    for pattern, what in _LATER:
        if re.match(pattern, head, re.DOTALL):
            return (
                f"this is a later piece of {what} recording, without the header that is in its"
                " first piece: join the pieces in their order, and send the whole"
            )
    if re.match(_MOVIE, head, re.DOTALL) and b"moov" not in head:
        return (
            "this is an MP4 without its index (moov), which is written last: the recording was cut"
            " off, or its end did not arrive"
        )
    if head.startswith(b"caff"):
        return (
            "this is a CAF without its table of packets, which is written last: the recording was"
            " cut off, or its end did not arrive"
        )
    if head.startswith(_HEADERS) or re.match(_MOVIE, head, re.DOTALL):
        return f"this is the header of a recording, of {size_bytes} bytes, and no sound follows it"
    if text := _as_text(head):
        return f"this is a text that begins with {text!r}; expected {READABLE}"
    return (
        f"it begins with {head[:_SHOWN_BYTES]!r}, as no known kind of recording; expected"
        f" {READABLE}. Raw PCM has no header: give it one, for instance by"
        " ffmpeg -f s16le -ar 16000 -ac 1 -i FILE FILE.wav, with its own encoding, rate and number"
        " of channels"
    )


def _as_text(head: bytes) -> str:
    """The first characters, if all of the head is text."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head[: len(head) // 2 * 2].decode(encoding, "ignore").replace("\ufeff", "")
    is_all = len(text.encode(encoding, "ignore")) >= len(head) - 8
    is_shown = all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
    return " ".join(text.split())[:30] if is_all and is_shown else ""
