"""No file is longer than its bytes can hold."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media.bounds import FREE_S, LONGEST_S, SECONDS_PER_BYTE, SILENCE_SHARE
from lanscribe.media.pieces import About, Missing, Piece, Unreadable
from lanscribe.media.reader import read
from lanscribe.media.tape import PAUSE_S
from lanscribe.speech.audio import Samples, duration_s
from tests.sounds import by_ffmpeg, by_libsndfile, endless, repeating, with_holes

FRAME_S = 0.08


def pieces_of(data: bytes) -> tuple[list[Piece], str]:
    """What a file is made of, and the code of what is missing at its end, if anything is."""
    try:
        pieces = list(read(io.BytesIO(data)))
    except Unreadable:
        return [], "unreadable"
    last = pieces[-1]
    is_cut = isinstance(last, Missing) and last.end_s is None
    return pieces, last.code if isinstance(last, Missing) and is_cut else ""


def sound_s(pieces: Sequence[Piece]) -> float:
    return duration_s(sum(len(piece) for piece in pieces if not isinstance(piece, About | Missing)))


def skipped_s(pieces: Sequence[Piece]) -> float:
    return sum(piece.skipped_s for piece in pieces if isinstance(piece, Missing))


@pytest.mark.parametrize(
    ("level", "share"), [(0.0, SILENCE_SHARE), (0.5, 1.0)], ids=["silence", "sound"]
)
def test_a_file_of_a_few_kilobytes_holds_no_hours(level: float, share: float) -> None:
    data = endless(level, 2 * 3600)
    assert len(data) < 10_000
    pieces, code = pieces_of(data)
    assert code == "too_long"
    most_s = (FREE_S + SECONDS_PER_BYTE * len(data)) / share
    assert most_s - 40 < sound_s(pieces) <= most_s


def test_a_table_that_names_the_same_bytes_again_and_again_holds_no_hours() -> None:
    data = repeating(3600)
    assert len(data) < 20_000
    pieces, code = pieces_of(data)
    assert code == "too_long"
    assert sound_s(pieces) <= FREE_S + SECONDS_PER_BYTE * len(data)


def test_what_a_table_names_a_few_times_is_sound() -> None:
    pieces, code = pieces_of(repeating(5))
    assert code == ""
    assert sound_s(pieces) == pytest.approx(5, abs=0.01)


SILENT_S = 100.0
SILENT = {
    "flac 4 kHz": lambda seconds: by_libsndfile(silence(seconds, 4_000), "FLAC", 4_000),
    "flac 48 kHz": lambda seconds: by_libsndfile(silence(seconds, 48_000), "FLAC", 48_000),
    "wavpack": lambda seconds: by_ffmpeg(silence(seconds), "wv", "wavpack", 8_000),
    "aac": lambda seconds: by_ffmpeg(silence(seconds), "ipod", "aac", 8_000),
    "opus": lambda seconds: by_ffmpeg(silence(seconds), "ogg", "libopus", 48_000),
    "mp3": lambda seconds: by_ffmpeg(silence(seconds), "mp3", "libmp3lame", 8_000),
}


def silence(seconds: float, rate_hz: int = 16_000) -> Samples:
    return np.zeros(round(seconds * rate_hz), dtype=np.float32)


@pytest.mark.parametrize("kind", SILENT)
def test_digital_silence_of_any_length_is_a_recording(kind: str) -> None:
    data = SILENT[kind](SILENT_S)
    a_second = len(data) / SILENT_S
    assert a_second * SECONDS_PER_BYTE / SILENCE_SHARE > 2, "however long, with room to spare"
    pieces, code = pieces_of(data)
    assert code == ""
    assert sound_s(pieces) == pytest.approx(SILENT_S, abs=0.5)


@pytest.mark.parametrize(
    ("kind", "codec", "rate_hz"), [("webm", "libopus", 48_000), ("mp4", "aac", 16_000)]
)
@pytest.mark.parametrize("length_s", [7, 4 * 3600])
def test_a_hole_between_packets_of_any_container(
    kind: str, codec: str, rate_hz: int, length_s: int
) -> None:
    """Recorders of the browser leave out what is silent; what comes after keeps its time."""
    sound, out = spoken([9, 5_000] * 60), io.BytesIO()
    data = by_ffmpeg(sound, kind, codec, rate_hz)
    with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format=kind) as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                is_late = packet.pts * packet.time_base > 5
                packet.pts += round(length_s / packet.time_base) if is_late else 0
                packet.dts = packet.pts
                packet.stream = stream
                target.mux(packet)
    pieces, code = pieces_of(out.getvalue())
    assert code == ""
    (at,) = [index for index, piece in enumerate(pieces) if isinstance(piece, Missing)]
    assert sound_s(pieces[:at]) == pytest.approx(5 + PAUSE_S, abs=0.2)
    assert skipped_s(pieces) == pytest.approx(length_s - PAUSE_S, abs=0.2)
    assert sound_s(pieces) == pytest.approx(duration_s(len(sound)) + PAUSE_S, abs=0.3)


def test_a_recording_of_more_than_a_day_ends_there() -> None:
    holes = [(n * FRAME_S, 40_000.0) for n in range(5, 12)]
    pieces, code = pieces_of(with_holes(spoken(range(1, 20)), holes))
    assert code == "too_long"
    assert skipped_s(pieces) < LONGEST_S


@pytest.mark.parametrize("size", [0, 4_000])
def test_a_header_that_says_more_than_there_is_holds_nothing(size: int) -> None:
    """A WAV of 2 GB by its own word, with so many bytes in it."""
    data = bytearray(by_libsndfile(spoken(range(1, 40)), "WAV")[: 44 + size])
    data[40:44] = (2**31 - 100).to_bytes(4, "little")
    pieces, code = pieces_of(bytes(data))
    assert sound_s(pieces) == size / 32_000
    assert code == ("" if size else "unreadable")
