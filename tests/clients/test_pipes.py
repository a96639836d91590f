"""The file client with recordings of many kinds, and with pipes that still run."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lanscribe.engines.fake import spoken
from tests.clients.conftest import MakeNumbers, StartClient
from tests.clients.listening import heard
from tests.clients.test_file_client import counted, run
from tests.media.test_choice import film
from tests.servers import Server
from tests.sounds import by_ffmpeg, by_libsndfile

SCRIPT = "test_file_transcribe.py"
NUMBERS = list(range(1, 101))
"""8 s; FFmpeg opens a WAV when it has 64 KiB of it, 2 s."""
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)).astype(np.float32)


# Kinds.


@pytest.mark.parametrize(
    ("kind", "codec", "rate_hz"),
    [
        ("ipod", "aac", 44_100),
        ("mp4", "aac", 16_000),
        ("webm", "libopus", 48_000),
        ("matroska", "libopus", 24_000),
        ("adts", "aac", 32_000),
        ("amr", "libopencore_amrnb", 8_000),
        ("mp3", "libmp3lame", 8_000),
    ],
)
def test_it_hears_what_the_server_hears(
    tmp_path: Path, kind: str, codec: str, rate_hz: int
) -> None:
    (path := tmp_path / "talk").write_bytes(by_ffmpeg(TONE, kind, codec, rate_hz))
    sound = heard(path)
    assert len(sound) == pytest.approx(48_000, abs=3_200)
    pitch = np.abs(np.fft.rfft(sound[8_000:40_000])).argmax() / 2
    assert pitch == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(99), "picture"),
        (b"Dear Sir or Madam,\n" * 9, "text"),
        (by_libsndfile(TONE[:0], "WAV"), "header"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path: Path, data: bytes, line: str) -> None:
    (path := tmp_path / "talk.wav").write_bytes(data)
    ended = run("--audio_path", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{SCRIPT}: {path}: ")
    assert line in ended.stderr
    assert ended.stderr.count("\n") == 1


# What is missing, and the track.


def test_a_file_that_was_cut_off_is_heard_as_far_as_it_goes(
    fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    path = numbers_wav(NUMBERS)
    os.truncate(path, path.stat().st_size // 2)
    arguments = ("--audio_path", path, "--url", fake_server.url)
    plain, figures = run(*arguments), run(*arguments, "--json")
    document = run(*arguments, "--format", "json")
    words = plain.stdout.split()
    assert words == counted(len(words)).split()
    assert 49 <= len(words) <= 50
    told, done = plain.stderr.splitlines()
    assert told.startswith("missing: 4.0 s to 8.0 s: ")
    assert done.startswith("4.0 s of audio in ")
    (part,) = json.loads(figures.stdout)["missing"]
    assert (part["code"], part["end"]) == ("cut_off", pytest.approx(8.0, abs=0.01))
    assert part["start"] == pytest.approx(4.0, abs=0.01)
    assert json.loads(document.stdout)["missing"] == [part]
    assert figures.stderr == document.stderr.splitlines(keepends=True)[0] == f"{told}\n"
    assert {plain.returncode, figures.returncode, document.returncode} == {0}


def test_the_track_with_sound_is_taken_or_the_one_that_is_asked_for(
    fake_server: Server, tmp_path: Path
) -> None:
    numbers = list(range(5_001, 5_021))
    text = " ".join(map(str, numbers))
    (path := tmp_path / "film.mkv").write_bytes(film([spoken([0] * 20), spoken(numbers)]))
    arguments = ("--audio_path", path, "--url", fake_server.url, "--json")
    ended = run(*arguments)
    figures = json.loads(ended.stdout)
    assert figures["text"] == text
    assert (figures["track"]["number"], figures["track"]["count"]) == (2, 2)
    assert ended.stderr.startswith("track 2 of 2")
    assert figures["track"]["why"] in ended.stderr
    first = run(*arguments, "--track", "1")
    assert (first.returncode, json.loads(first.stdout)["text"]) == (0, "")
    mixed = run(*arguments, "--track", "all")
    assert json.loads(mixed.stdout)["text"] == text
    assert mixed.stderr.startswith("2 tracks: ")
    third = run(*arguments, "--track", "3")
    assert (third.returncode, third.stdout, third.stderr.count("\n")) == (2, "", 1)
    assert third.stderr.startswith(f"{SCRIPT}: {path}: ")


# Pipes that still run.


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; a test closes the second one."""
    out, into = os.pipe()
    yield out, into
    os.close(out)


@pytest.mark.parametrize("is_blocking", [True, False])
def test_text_comes_while_a_pipe_runs(
    start_client: StartClient,
    fake_server: Server,
    pipe: tuple[int, int],
    numbers_wav: MakeNumbers,
    is_blocking: bool,
) -> None:
    """Also through one that another program has set not to block."""
    out, into = pipe
    os.set_blocking(out, is_blocking)
    data = numbers_wav(NUMBERS).read_bytes()
    middle = len(data) // 2
    program = start_client(SCRIPT, "--audio_path", "-", "--url", fake_server.url, stdin=out)
    os.write(into, data[:middle])
    program.out.wait_for(counted(36))
    os.write(into, data[middle:])
    os.close(into)
    assert program.wait() == 0
    assert program.out.text == f"{counted(100)}\n"


def test_ctrl_c_ends_a_pipe_that_is_silent(
    start_client: StartClient, fake_server: Server, pipe: tuple[int, int], numbers_wav: MakeNumbers
) -> None:
    out, into = pipe
    data = numbers_wav(NUMBERS).read_bytes()
    program = start_client(SCRIPT, "--audio_path", "-", "--url", fake_server.url, stdin=out)
    os.write(into, data[: len(data) // 2])
    program.out.wait_for(counted(36))
    program.interrupt()
    assert program.wait() == 0
    os.close(into)
    words = program.out.text.split()
    assert words == counted(len(words)).split()


def test_progress_needs_no_length(
    start_client: StartClient, fake_server: Server, numbers_wav: MakeNumbers, tmp_path: Path
) -> None:
    data = bytearray(numbers_wav(NUMBERS).read_bytes())
    data[4:8] = data[40:44] = bytes(4)  # as of a program that writes into a pipe
    os.mkfifo(fifo := tmp_path / "talk")
    arguments = ("--audio_path", fifo, "--url", fake_server.url)
    program = start_client(SCRIPT, *arguments, in_terminal=True)
    fifo.write_bytes(data)
    assert program.wait() == 0
    assert re.search(r"0:00:0\d  lag \d\.\d s", program.out.text)
    assert " / " not in program.out.text
    *_, last_words, _figures = program.out.text.splitlines()
    assert last_words.endswith("98 99 100")
