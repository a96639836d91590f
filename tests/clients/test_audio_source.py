"""What the file client sends of a recording, with a reader that says what a test wants."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from clients import audio_source as module
from clients.audio_source import AudioSource, WrongTrack, missing_line, track_line
from clients.terminal import Trouble
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.speech.audio import Samples
from lanscribe.speech.pcm import decoded
from tests.clients.listening import Int16, heard, sent
from tests.support import DEADLINE_S

SECOND: Samples = (np.arange(16_000) / 32_768).astype(np.float32)
DAMAGED = Missing(1.0, 31.0, "damaged", "30 bytes are wrong", skipped_s=29.0)
CUT_OFF = Missing(32.0, None, "cut_off", "it ends before its end")


def reads(monkeypatch: pytest.MonkeyPatch, *pieces: Piece | Exception) -> None:
    """Have every recording consist of these pieces, up to an error."""

    def read(_file: BinaryIO, _track: str) -> Iterator[Piece]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    monkeypatch.setattr(module, "read", read)


def reads_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every recording be PCM, read as it comes."""

    def read(file: BinaryIO, _track: str) -> Iterator[Piece]:
        yield About()
        while data := file.read(2_000):
            yield decoded(data, "pcm_s16le")

    monkeypatch.setattr(module, "read", read)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is there, for a reader that does not look at it."""
    path = tmp_path / "talk.wav"
    path.touch()
    return path


def as_int16(samples: Samples) -> list[int]:
    return [round(sample * 32_768) for sample in samples.tolist()]


# Its sound.


def test_all_sound_is_sent_in_pieces_of_any_length(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    sound: Samples = np.tile(SECOND, 3)
    reads(monkeypatch, About(), *np.split(sound, [1, 5_000, 5_001, 40_000]))
    assert heard(file).tolist() == as_int16(sound)


def test_it_starts_again_from_any_sample_that_was_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    reads(monkeypatch, About(), *[SECOND] * 5)

    async def again() -> tuple[Int16, Int16, Int16]:
        with closing(AudioSource(str(file))) as recording:
            first = await sent(recording)
            recording.forget(70_000)
            with pytest.raises(Trouble, match="the server asks for audio that it has had"):
                await recording.chunk(60_000, 0.5)
            assert await recording.chunk(80_001, 0.5) == b""
            return first, await sent(recording, 70_000), await sent(recording, 80_000)

    first, rest, nothing = asyncio.run(again())
    assert rest.tolist() == first[70_000:].tolist()
    assert nothing.tolist() == []


# A pipe.


def test_a_pipe_is_sent_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_raw(monkeypatch)
    out, into = os.pipe()
    os.write(into, bytes(6_400))

    async def follow() -> None:
        with closing(AudioSource(f"/dev/fd/{out}")) as recording:
            assert await recording.chunk(0, 0.1) == bytes(3_200)
            assert await recording.chunk(1_600, 0.1) == bytes(3_200)
            os.write(into, bytes(2_000))
            os.close(into)
            assert await recording.chunk(3_200, 0.1) == bytes(2_000)
            assert await recording.chunk(4_200, 0.1) == b""

    asyncio.run(follow())
    os.close(out)


def test_a_connection_that_breaks_while_a_pipe_is_silent_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads_raw(monkeypatch)
    out, into = os.pipe()
    os.write(into, bytes(range(200)) * 10)

    async def follow() -> Int16:
        with closing(AudioSource(f"/dev/fd/{out}")) as recording:
            for _ in range(3):
                waiting = asyncio.create_task(recording.chunk(0, 0.1))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            os.write(into, bytes(range(200)) * 10)
            os.close(into)
            return await sent(recording)

    assert asyncio.run(follow()).tobytes() == bytes(range(200)) * 20
    os.close(out)


def test_a_signal_ends_a_silent_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_raw(monkeypatch)
    out, into = os.pipe()
    os.write(into, bytes(2_000))

    recording = AudioSource(f"/dev/fd/{out}")

    async def follow() -> None:
        waiting = asyncio.create_task(recording.chunk(1_000, 0.1))
        await asyncio.sleep(0)
        recording.stop()
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting == b""
        recording.close()  # while the thread waits
        os.close(into)

    before = set(threading.enumerate())
    asyncio.run(follow())
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE_S)
    recording.close()
    os.close(out)


# What is missing, and the track.


def test_times_are_those_of_the_recording(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    reads(monkeypatch, About(), SECOND, DAMAGED, SECOND, CUT_OFF)

    def look(recording: AudioSource) -> None:
        assert recording.timeline.placed(0.5, 0.9) == (0.5, 0.9)
        assert recording.timeline.placed(1.5, 1.9) == (30.5, 30.9)
        assert list(recording.missing) == [DAMAGED, CUT_OFF]
        assert recording.told == {
            "missing": [
                {"start": 1.0, "end": 31.0, "code": "damaged", "why": "30 bytes are wrong"},
                {"start": 32.0, "end": None, "code": "cut_off", "why": "it ends before its end"},
            ]
        }

    assert len(heard(file, then=look)) == 32_000


def test_a_file_that_cannot_be_read_on_is_cut_off_there(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    reads(monkeypatch, About(), SECOND, DAMAGED, SECOND, OSError(5, "Input/output error"))
    whys: list[str] = []
    found = heard(file, then=lambda recording: whys.extend(map(missing_line, recording.missing)))
    assert len(found) == 32_000
    assert whys == [
        "missing: 1.0 s to 31.0 s: 30 bytes are wrong",
        "missing from 31.0 s on: it cannot be read: Input/output error",
    ]


def test_a_mistake_of_the_reader_is_no_end_of_the_recording(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    reads(monkeypatch, About(), SECOND, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        heard(file)


def test_the_track_is_told_if_there_are_several(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    about = About(2, 3, "deu", "Kommentar", "the first is silent", 1.0)
    reads(monkeypatch, about, SECOND)
    found: list[dict[str, Any]] = []
    heard(file, then=lambda recording: found.append(recording.told))
    track = {"number": 2, "count": 3, "language": "deu", "title": "Kommentar"}
    assert found == [{"track": track | {"why": "the first is silent"}}]


@pytest.mark.parametrize(
    ("about", "line"),
    [
        (About(), ""),
        (About(2, 2, "", "", "the first is silent"), "track 2 of 2: the first is silent"),
        (About(1, 2, "deu", "", "it is the default"), "track 1 of 2 (deu): it is the default"),
        (About(0, 3, "", "", "all are mixed"), "3 tracks: all are mixed"),
        (About(1, 2, "eng", "a\x1b[2J\n", "b"), "track 1 of 2 (eng, a[2J): b"),
    ],
)
def test_which_track_it_is_fits_a_line(about: About, line: str) -> None:
    assert track_line(about) == line


# Files that are none.


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (Unreadable("it is a picture"), Trouble, "{}: it is a picture"),
        (NoSuchTrack("it has 1 track"), WrongTrack, "{}: it has 1 track"),
        (OSError(5, "Input/output error"), Trouble, "cannot read {}: Input/output error"),
    ],
)
def test_why_nothing_can_be_heard_is_one_line(
    monkeypatch: pytest.MonkeyPatch, file: Path, error: Exception, kind: type, line: str
) -> None:
    for before in ([], [About()], [About(), DAMAGED]):
        reads(monkeypatch, *before, error)
        with pytest.raises(Trouble) as caught:
            AudioSource(str(file))
        assert type(caught.value) is kind
        assert str(caught.value) == line.format(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    name, line = os.fsdecode(b"\xff\xfe.wav"), r"\\xff\\xfe\.wav: No such file or directory"
    with pytest.raises(Trouble, match=rf"cannot read .*/{line}"):
        AudioSource(str(tmp_path / name))
    master, terminal = os.openpty()
    with pytest.raises(Trouble, match=r"/dev/pts/\d+ is a terminal: expected a recording"):
        AudioSource(os.ttyname(terminal))
    os.close(master)
    os.close(terminal)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("https://example.org/a.mp3", "with - what a pipe brings: curl -sL URL | ... --audio_path"),
        ("~/a.wav", "the shell left the ~ in it: write the folder in full"),
        ("'a.wav'", "the quotes and spaces around it are part of the name"),
        ("\u201ca.wav\u201d", "the quotes and spaces around it are part of the name"),
        (" a.wav", "the quotes and spaces around it are part of the name"),
    ],
)
def test_a_name_that_shows_why_there_is_no_such_file(name: str, hint: str) -> None:
    with pytest.raises(Trouble, match=r"cannot read .*: No such file or directory; ") as told:
        AudioSource(name)
    assert hint in str(told.value)


def test_a_file_that_is_not_there_and_has_no_odd_name() -> None:
    with pytest.raises(Trouble, match=r"cannot read no/a\.wav: No such file or directory$"):
        AudioSource("no/a.wav")
