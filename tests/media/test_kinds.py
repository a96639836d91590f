"""What is no recording is named by what it begins with."""

import gzip
import io
import random
import zipfile

import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media.kinds import READABLE, guess, refusal
from lanscribe.media.pieces import Unreadable
from lanscribe.media.reader import read
from tests.sounds import KINDS, by_ffmpeg, by_libsndfile, film


def packed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("speech.wav", KINDS["wav"](spoken(range(1, 20))))
    return file.getvalue()


def later_webm() -> bytes:
    data = by_ffmpeg(spoken(range(1, 40)), "webm", "libopus", 48_000)
    return data[data.index(b"\x1f\x43\xb6\x75") :]


def fragments() -> bytes:
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return by_ffmpeg(spoken(range(1, 40)), "mp4", "aac", container_options=flags)


SPOKEN = spoken(range(1, 40))
REFUSED = {
    "empty": (b"", "the file is empty: 0 bytes"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01" + bytes(900), "a picture"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(900), "a picture"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(900), "a picture"),
    "webp": (b"RIFF\x10\x10\0\0WEBPVP8 " + bytes(900), "a picture"),
    "page": (b"\n<!DOCTYPE html><html>" + b"not found " * 90, "a web page"),
    "playlist": (b"#EXTM3U\nhttp://h/talk.mp3\n", "a playlist"),
    "xml": (b'<?xml version="1.0"?><note/>', "a text in XML"),
    "pdf": (b"%PDF-1.7\n" + bytes(900), "a PDF document"),
    "zip": (packed(), "unpack it"),
    "gzip": (gzip.compress(KINDS["wav"](SPOKEN)), "unpack it"),
    "midi": (b"MThd\0\0\0\6\0\1\0\2\0\x60" + bytes(900), "a MIDI file"),
    "text": (b"Dear diary, today I wrote a text. " * 40, "a text that begins with 'Dear diary"),
    "utf-16": ("Grüße aus Köln. ".encode("utf-16"), "a text that begins with 'Grüße aus"),
    "umlauts": ("Grüße aus Köln, schön. ".encode() * 60, "a text that begins with 'Grüße aus"),
    "raw pcm": (KINDS["wav"](SPOKEN)[44:], "-f s16le -ar 16000 -ac 1 -i FILE FILE.wav"),
    "random": (random.Random(1).randbytes(5_000), "begins with b'"),
    "later webm": (later_webm(), "a later piece of a WebM recording"),
    "later mp4": (fragments()[fragments().index(b"moof") - 4 :], "a later piece of an MP4"),
    "mp4 header": (fragments()[: fragments().index(b"moof") - 4], "no sound follows it"),
    "mp4 without its end": (by_ffmpeg(SPOKEN, "mp4", "aac")[:3_000], "without its index (moov)"),
    "caf without its end": (b"caff\0\x01\0\0desc" + bytes(90), "without its table of packets"),
    "wav header": (KINDS["wav"](SPOKEN)[:44], "of 44 bytes, and no sound follows it"),
    "half a header": (KINDS["wav"](SPOKEN)[:20], "of 20 bytes, and no sound follows it"),
    "wav of nothing": (by_libsndfile(SPOKEN[:0], "WAV"), "no sound follows it"),
    "flac header": (KINDS["flac"](SPOKEN)[:42], "no sound follows it"),
    "ogg header": (KINDS["ogg"](SPOKEN)[:3_000], "no sound follows it"),
    "rate": (by_libsndfile(SPOKEN, "WAV", 500), "sample rate of 500 Hz; expected 1000 to 768000"),
    "film": (film(), "no track of sound that can be read; its tracks: video"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recording_is_named(name: str) -> None:
    data, part = REFUSED[name]
    with pytest.raises(Unreadable) as caught:
        list(read(io.BytesIO(data)))
    said = str(caught.value)
    assert part in said
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize("kind", KINDS)
def test_no_recording_is_refused(kind: str) -> None:
    assert refusal(KINDS[kind](SPOKEN)[:512]) == ""


def test_a_refusal_with_no_advice_says_what_is_read() -> None:
    assert READABLE in refusal(b"SQLite format 3\0")
    assert READABLE in refusal(b"\x7fELF")
    assert READABLE in guess(b"\x00\x01", 2)
