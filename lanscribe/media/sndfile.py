"""Decodes by libsndfile what FFmpeg does not know, such as MATLAB's and Akai's files."""

import re
from collections.abc import Iterator

import soundfile

from lanscribe.media.parts import Window
from lanscribe.media.pieces import Missing, Piece
from lanscribe.media.tape import Tape

_READ_VALUES = 2**16
_HEADS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"Crea",
    b"2BIT", b"PVF1", b" paf", b"fap ", b"MATL", b"Exte", b"d\xa3", b"\1\4", b"caff", b"\0\0",
    b"dns.", b"ALaw",
)  # fmt: skip
"""The beginnings of files that libsndfile gets. It gets no MP3, MIDI or ALAC, and nothing that it
takes for one: libraries that it uses for these write messages to the terminal."""
_HTK = re.compile(rb".{8}\0\x02\0\0", re.DOTALL)
_ITS_OWN = re.compile(
    rb"RIFX|(?:RIFF|RF64).{4}WAVE.{0,200}?fmt .{4}"
    rb"(?:\x40\0|\x38\0.{10}[\x2a\x3e\x52]\0|\xfe\xff.{12}\x20\0.{2}(?!\0\0|\x20\0).{6}\x01\0)",
    re.DOTALL,
)
"""WAV in big-endian order, with G.721, with NMS ADPCM, or with PCM of 24 bits in 32, as Windows
records it: FFmpeg plays noise for these."""


def is_its_own(head: bytes) -> bool:
    """Whether FFmpeg takes a file that begins with these bytes for something else."""
    return bool(_ITS_OWN.match(head))


def by_libsndfile(file: Window, head: bytes, tape: Tape) -> Iterator[Piece]:
    """The sound of a file; nothing if libsndfile cannot read it."""
    if not head.startswith(_HEADS) and not _HTK.match(head):
        return
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError):
        return
    with sound:
        frames = max(1, _READ_VALUES // sound.channels)
        declared_s = sound.frames / sound.samplerate
        end_s = tape.time_s + declared_s
        try:
            while len(block := sound.read(frames, dtype="float32", always_2d=True)):
                yield from tape.add(block.T, sound.samplerate, ())
        except soundfile.LibsndfileError as error:
            why = str(error.error_string).removeprefix("Error : ").rstrip(".")
            yield from tape.flush()
            yield Missing(tape.time_s, end_s, "damaged", why)
            return
    yield from tape.flush()
    if file.lacks:
        yield Missing(tape.time_s, None, "cut_off", file.lacks)
    elif tape.time_s < end_s - 0.1:
        why = f"the file ends early: it declares {declared_s:.1f} s"
        yield Missing(tape.time_s, end_s, "cut_off", why)
