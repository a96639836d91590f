"""Fuzzes the reading of files: every kind that the installed libraries can write, mutated.

    python -m tests.fuzz.media --seconds 3600 [--first-seed N] [--count N]

Each file is sound, with what is missing of it, or a named reason: no other exception, nothing on
the terminal (a library's traceback), no hang, no hundred megabytes. Ends with 1 at the first file
that is something else, and tells its seed; a crash of a library shows its seed in the last line of
the output.
"""

import argparse
import ctypes
import faulthandler
import io
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache

import av
import numpy as np
import soundfile

from lanscribe.engines.fake import spoken
from lanscribe.media.bounds import LONGEST_S
from lanscribe.media.pieces import About, Missing, Unreadable
from lanscribe.media.reader import read
from tests.sounds import by_ffmpeg, endless, repeating, with_holes

SLOWEST_S = 120.0
"""Of one file, on a machine that does much else; then its stack is shown and the run ends."""
MOST_BYTES = 300 * 2**20
"""By which one file may raise the peak of memory; a block of 1024 channels is 100 MB."""
FFMPEG = [
    ("ipod", "aac", 16_000), ("ipod", "alac", 16_000), ("mp4", "flac", 16_000),
    ("mov", "pcm_s16be", 16_000), ("webm", "libopus", 48_000), ("matroska", "pcm_f32le", 16_000),
    ("matroska", "aac", 16_000), ("matroska", "ac3", 48_000), ("mp3", "libmp3lame", 16_000),
    ("adts", "aac", 16_000), ("ogg", "libopus", 48_000), ("ogg", "flac", 16_000),
    ("flac", "flac", 16_000), ("wav", "adpcm_ima_wav", 16_000), ("wav", "adpcm_ms", 16_000),
    ("w64", "pcm_s16le", 16_000), ("aiff", "pcm_s24be", 16_000), ("caf", "alac", 16_000),
    ("au", "pcm_mulaw", 8_000), ("amr", "libopencore_amrnb", 8_000), ("asf", "wmav2", 44_100),
    ("avi", "mp2", 16_000), ("flv", "aac", 44_100), ("mpegts", "aac", 16_000),
    ("mpegts", "mp2", 48_000), ("mpeg", "mp2", 48_000), ("ac3", "ac3", 48_000),
    ("eac3", "eac3", 48_000), ("wv", "wavpack", 16_000), ("tta", "tta", 16_000),
]  # fmt: skip
"""Container, codec and rate; those that this FFmpeg cannot write are left out."""
SUBTYPES = {"PCM_16", "PCM_U8", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610", "VORBIS", "OPUS"}
SUBTYPES |= {"MPEG_LAYER_III", "ALAC_16", "DWVW_16", "G721_32", "DPCM_16", "DOUBLE"}
EXTREMES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\x01"]


@cache
def files() -> dict[str, bytes]:
    """Three seconds of sound as every kind of file."""
    samples = spoken(range(1, 38)) * np.float32(100)
    made = {
        "endless": endless(0.5, 1000),
        "repeating": repeating(100),
        "holes": with_holes(samples, [(1.0, 5000.0)]),
    }
    for kind in sorted(set(soundfile.available_formats()) - {"SD2"}):  # which is two files
        for subtype in SUBTYPES & set(soundfile.available_subtypes(kind)):
            file = io.BytesIO()
            try:
                soundfile.write(file, samples, 16_000, format=kind, subtype=subtype)
            except (soundfile.LibsndfileError, ValueError, TypeError):
                continue  # a pair that it has not
            made[f"{kind} {subtype}"] = file.getvalue()
    for kind, codec, rate_hz in FFMPEG:
        try:
            made[f"{kind} {codec}"] = by_ffmpeg(samples, kind, codec, rate_hz)
        except (av.FFmpegError, ValueError):  # UnknownCodecError is a ValueError
            continue
    return made


def mutated(seed: int) -> tuple[str, bytes]:
    """A file with some damage, and what it was."""
    random_ = random.Random(seed)
    name = random_.choice(sorted(files()))
    data = bytearray(files()[name])
    for _ in range(random_.choice([0, 1, 1, 2, 4, 8])):
        _damage(data, random_)
    return name, bytes(data)


def _damage(data: bytearray, random_: random.Random) -> None:
    """One piece of damage, mostly in the head, where the numbers are that are believed."""
    size = max(1, len(data))
    at = random_.randrange(min(size, random_.choice([48, 200, 1000, size])))
    length = random_.choice([1, 2, 4, 8])
    match random_.randrange(8):
        case 0 | 1:
            data[at : at + 1] = random_.randbytes(1)
        case 2 | 3:
            data[at : at + length] = random_.choice(EXTREMES) * length
        case 4:
            del data[at:]
        case 5:
            del data[at : at + random_.choice([length, 500])]
        case 6:
            data[at:at] = data[at : at + random_.choice([length, 500])]
        case 7:
            other = files()[random_.choice(sorted(files()))]
            data[at:] = other[random_.randrange(len(other)) :]


def outcome(data: bytes) -> str:
    """What becomes of a file, in a word. Raises whatever is no named reason."""
    length_s, sound_s, lacks = 0.0, 0.0, False
    pieces = read(io.BytesIO(data))
    try:
        assert isinstance(next(pieces), About)
        for piece in pieces:
            assert not isinstance(piece, About)
            if isinstance(piece, Missing):
                lacks = True
                length_s += piece.skipped_s
                check_words(piece.why)
                assert piece.end_s is None or 0 <= piece.start_s <= piece.end_s, piece
                continue
            length_s += len(piece) / 16_000
            sound_s += len(piece) / 16_000
            assert len(piece), "an empty block"
            assert np.isfinite(piece).all(), "no numbers"
    except Unreadable as error:
        assert not sound_s, "a refusal after sound"
        check_words(str(error))
        return "unreadable"
    assert 0 < sound_s <= length_s <= LONGEST_S
    return "lacking" if lacks else "sound"


def check_words(why: str) -> None:
    """A reason can be shown to anyone."""
    assert why, "no reason"
    assert why.isprintable(), why
    why.encode()


class Terminal:
    """What libraries write to stdout and stderr, in a file instead."""

    def __init__(self) -> None:
        self._real = [os.dup(1), os.dup(2)]
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        for number in (1, 2):
            os.dup2(self._file.fileno(), number)

    def say(self, text: str) -> None:
        """Write to the real stdout, at once: a library may end this process in the next moment."""
        os.write(self._real[0], text.encode())

    def watch(self) -> None:
        """From now on one file has so long."""
        faulthandler.dump_traceback_later(SLOWEST_S, exit=True, file=self._real[1])

    def written(self) -> str:
        """What was written since the last call."""
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)  # what C keeps back
        self._file.seek(0)
        text = self._file.read().decode(errors="replace")
        self._file.seek(0)
        self._file.truncate()
        return text

    def restore(self) -> None:
        """Write to the real ones again."""
        for number, real in enumerate(self._real, start=1):
            os.dup2(real, number)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seeds(options: argparse.Namespace) -> Iterator[int]:
    """From the first on, so many or for so long."""
    end_s, seed = time.monotonic() + options.seconds, options.first_seed
    while time.monotonic() < end_s and seed < options.first_seed + options.count:
        yield seed
        seed += 1


def main() -> int:
    """Fuzz; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10**9)
    options = parser.parse_args()
    tally: dict[str, int] = {}
    terminal = Terminal()
    terminal.say(f"{len(files())} kinds of files\n")
    terminal.written()
    try:
        for seed in seeds(options):
            name, data = mutated(seed)
            terminal.say(f"\rseed {seed}: {name:30}")
            terminal.watch()
            before_bytes = peak_bytes()
            became = outcome(data)
            faulthandler.cancel_dump_traceback_later()
            assert not (said := terminal.written()), said
            assert peak_bytes() - before_bytes < MOST_BYTES, "memory"
            tally[became] = tally.get(became, 0) + 1
    finally:
        faulthandler.cancel_dump_traceback_later()
        terminal.restore()
    sys.stdout.write(f"\r{tally}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
