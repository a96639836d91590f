"""No file is longer than its bytes can hold, and what a recording leaves out is told, not heard."""

import asyncio
import io
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import av
import numpy as np
import pytest

from lanscribe.engines.base import running
from lanscribe.engines.fake import FakeEngine, spoken
from lanscribe.media.bounds import FREE_S, LONGEST_S, SECONDS_PER_BYTE, SILENCE_SHARE
from lanscribe.media.pieces import About, Missing, Piece, Unreadable
from lanscribe.media.reader import read
from lanscribe.media.tape import PAUSE_S
from lanscribe.server.rest_form import FileTranscript
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token
from tests.engines.driving import drain
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


def test_what_the_engine_passes_over_is_told_in_the_time_of_the_file() -> None:
    heard = FileTranscript()
    heard.timeline.skip(2.0, 100.0)
    heard.hear(Token("", 4.0, start_s=3.0, is_lost=True))
    heard.hear(Token("a", 1.0, start_s=0.5))
    assert list(heard.lost) == [Span(103.0, 104.0)]
    assert heard.transcript.text == "a"


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


def test_whatever_the_holes_all_sound_has_its_place() -> None:
    for seed in range(20):
        random_ = random.Random(seed)
        numbers = range(1, random_.randint(20, 80))
        at = sorted(random_.sample(numbers[1:-3], random_.randint(0, 5)))
        holes = [(n * FRAME_S, random_.choice([0.3, 0.9, 1.5, 8.0, 3600.0, 10_000.0])) for n in at]
        heard, tokens = listened(with_holes(spoken(numbers), holes))
        assert [token.text.strip() for token in tokens] == [str(n) for n in numbers], seed
        for number, token in zip(numbers, tokens, strict=True):
            before_s = sum(length_s for at_s, length_s in holes if at_s < number * FRAME_S - 0.04)
            wanted_s = number * FRAME_S + before_s
            assert token.end_s == pytest.approx(wanted_s, abs=0.1), f"seed {seed}: {number}"
        whole_s = len(numbers) * FRAME_S + sum(length_s for _, length_s in holes)
        assert heard.audio_s == pytest.approx(whole_s, abs=0.2), f"seed {seed}"
        assert heard.sound.samples / 16_000 < len(numbers) * FRAME_S + PAUSE_S * len(holes) + 0.2
        check_told(heard, holes, seed)


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


def check_told(heard: FileTranscript, holes: Sequence[tuple[float, float]], seed: int) -> None:
    """That every hole longer than a pause is told as lost, where it is in the whole."""
    long = [(at_s, length_s) for at_s, length_s in holes if length_s > PAUSE_S]
    starts_s = [at_s + sum(length_s for a, length_s in holes if a < at_s) for at_s, _ in long]
    told = list(heard.lost)
    for start_s, (_, length_s) in zip(starts_s, long, strict=True):
        middle_s = start_s + length_s / 2
        (span,) = [one for one in told if one.start_s <= middle_s <= one.end_s]
        assert span.start_s <= start_s + 0.1, f"seed {seed}"
        assert span.end_s >= start_s + length_s - 0.1, f"seed {seed}"
    told_s = sum(one.end_s - one.start_s for one in told)
    assert told_s == pytest.approx(sum(length_s for _, length_s in long), abs=0.5), f"seed {seed}"


def placed(heard: FileTranscript, token: Token) -> Token:
    """The token of a word, with times in the whole file."""
    start_s, end_s = heard.timeline.placed(token.start_s, token.end_s)
    return replace(token, start_s=start_s, end_s=end_s)


def listened(data: bytes) -> tuple[FileTranscript, list[Token]]:
    """What an engine hears of a file, with the times that REST tells."""

    async def pieces() -> AsyncIterator[Piece]:
        for piece in read(io.BytesIO(data)):
            yield piece

    async def listen() -> tuple[FileTranscript, list[Token]]:
        heard = FileTranscript()
        async with running(FakeEngine()) as (session, tasks):
            listening = tasks.create_task(drain(session))
            async for block in heard.counted(pieces()):
                await session.feed(block)
            await session.finish()
        tokens = [placed(heard, token) for token in listening.result() if token.text]
        return heard, tokens

    return asyncio.run(listen())


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
