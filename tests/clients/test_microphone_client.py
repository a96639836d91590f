"""stream_microphone.py as people run it, on a sound card, with servers that come and go."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
import pytest
import webvtt
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection

from lanscribe import PROJECT_DIR
from test_file_transcribe import normalised
from tests.clients.conftest import MakeNumbers, StartClient, StartMicrophone
from tests.clients.peers import greet, hear, say, server
from tests.clients.program import Program
from tests.clients.sound import SoundCard
from tests.clients.test_file_client import BECKETT, refused_port
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S

SCRIPT = "stream_microphone.py"


def hill(top: int) -> list[int]:
    """Numbers that go up to `top` and down again.

    Where a frame of the card begins in the middle of one of the engine's, a step of one is heard as
    the number before it or after it; a larger one could be heard as anything between.
    """
    return [*range(1, top), *range(top, 0, -1)]


def loud(numbers: Sequence[int]) -> list[int]:
    """Numbers so far apart that a sound card's rounding does not make one of another."""
    return [0, 0, *(100 * number for number in numbers), 0, 0]


def heard(text: str) -> list[int]:
    """The numbers that were meant; of silence, rounding may make a 1."""
    return [number for word in text.split() if (number := round(int(word) / 100))]


def errors_per_word(text: str) -> float:
    """How far `text` is from what is said in `speech`."""
    return float(jiwer.wer(BECKETT, normalised(text)))


# What it is for.


def test_speech_in_a_pipe_becomes_text_while_it_is_spoken(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    embedded_server: Server,
    speech: Path,
    tmp_path: Path,
) -> None:
    saved = tmp_path / "saved.txt"
    saved.write_text("What was there.\n")
    program = start_microphone("--url", embedded_server.url, "--save", saved)
    sound_card.play(speech)
    program.out.wait_for("No matter.")
    program.interrupt()
    assert program.wait() == 0
    assert errors_per_word(program.out.text) < 0.2
    assert program.out.text.endswith("\n")
    assert saved.read_text() == f"What was there.\n{program.out.text}"
    assert program.err.text == "recording from default at 44100 Hz; Ctrl-C ends\n"


def test_speech_in_a_terminal_shows_text_level_time_and_lag(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    embedded_server: Server,
    speech: Path,
    tmp_path: Path,
) -> None:
    saved = tmp_path / "saved.txt"
    program = start_microphone("--url", embedded_server.url, "--save", saved, in_terminal=True)
    program.out.wait_for("connected  0:00:0")
    sound_card.play(speech)
    program.out.wait_for("No matter.")
    program.interrupt()
    assert program.wait() == 0
    assert "█░" in program.out.text
    assert " dB  lag 0." in program.out.text
    assert errors_per_word(saved.read_text()) < 0.2
    assert all(f"{line}\n" in program.out.text for line in saved.read_text().splitlines())
    assert program.out.raw.count("\x1b[?25l") == program.out.raw.count("\x1b[?25h") > 0


def test_every_sample_reaches_the_server_once(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
) -> None:
    program = start_microphone("--url", fake_server.url)
    sound_card.play(numbers_wav(loud(hill(30))))
    program.interrupt(signal.SIGTERM)
    assert program.wait() == 0
    assert heard(program.out.text) == hill(30)


def test_captions_grow_and_other_formats_come_at_the_end(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
    tmp_path: Path,
) -> None:
    saved, captions = tmp_path / "saved.json", tmp_path / "live.vtt"
    saved.write_text("of yesterday")
    files = ("--format", "json", "--save", saved, "--captions", captions)
    program = start_microphone("--url", fake_server.url, *files, in_terminal=True)
    sound_card.play(numbers_wav(loud(hill(20))))
    program.out.wait_until(lambda text: re.search(r" 19\d\d\b", text) is not None)
    program.out.wait_until(lambda _: re.search(r"\b1\d\d\b", captions.read_text()) is not None)
    program.interrupt()
    assert program.wait() == 0
    verbose = json.loads(saved.read_text())
    assert heard(verbose["text"]) == hill(20)
    assert json.dumps(verbose) in program.out.text
    texts = [segment["text"] for segment in verbose["segments"]]
    assert [one.text.replace("\n", " ") for one in webvtt.read(str(captions)).captions] == texts
    starts_s = [word["start"] for word in verbose["words"] if heard(word["word"])]
    assert np.diff(starts_s) == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_no_word_is_lost_when_the_server_crashes_or_restarts(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    start_server: StartServer,
    numbers_wav: MakeNumbers,
    end: str,
) -> None:
    running = start_server("fake")
    program = start_microphone("--url", running.url)
    sound_card.play(numbers_wav(loud(hill(15))))
    program.out.wait_until(lambda text: len(heard(text)) > 25)
    getattr(running, end)()
    sound_card.play(numbers_wav(loud(hill(20))))
    program.err.wait_for("(what you say is kept; trying again)")
    running.restart()
    program.err.wait_for("connected again")
    sound_card.play(numbers_wav(loud(hill(18))))
    program.interrupt()
    assert program.wait() == 0
    assert heard(program.out.text) == hill(15) + hill(20) + hill(18)


def test_a_busy_server_is_waited_for(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    serve_here: ServeHere,
    numbers_wav: MakeNumbers,
) -> None:
    running = serve_here(engine={"sessions": 1})
    with connect(running.url) as other:
        other.recv(timeout=DEADLINE_S)
        program = start_microphone("--url", running.url)
        program.err.wait_for("(what you say is kept; trying again)")
        sound_card.play(numbers_wav(loud(hill(5))))
    program.err.wait_for("connected again")
    program.interrupt()
    assert program.wait() == 0
    assert heard(program.out.text) == hill(5)


def test_silence_is_told_and_ctrl_c_still_ends_well(
    start_microphone: StartMicrophone, fake_server: Server
) -> None:
    program = start_microphone("--url", fake_server.url)
    program.err.wait_for("the microphone sends only silence: is it muted?")
    program.interrupt()
    assert (program.wait(), program.out.text) == (0, "")


def test_what_the_server_writes_cannot_steer_the_terminal(
    start_microphone: StartMicrophone,
) -> None:
    def handler(connection: ServerConnection) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        evil = "\x1b]0;owned\x07[bold]a\x9b2J\u202eb\ud800"
        say(connection, type="transcription.delta", delta=evil, end_s=0.1)
        say(connection, type="error", error="\x1b]2;mine\x07[red]c", code="\x1b")
        connection.recv(timeout=DEADLINE_S)

    with server(handler) as address:
        program = start_microphone("--url", address, in_terminal=True)
        program.out.wait_for("]0;owned[bold]a2Jb")
        program.out.wait_for("]2;mine[red]c")
        program.kill()
    assert not set("\x07\x9b\u202e") & set(program.out.raw)
    assert "\x1b]" not in program.out.raw


def guessing(connection: ServerConnection) -> None:
    """A server that settles one word, guesses another, and settles a third in its place."""
    resume = {"token": "t", "keep_s": 60.0}
    say(connection, type="session.created", id="sess-1", created=1, resume=resume)
    is_asked = hear(connection, "session.update").get("tentative", False)
    guess = {"tentative": " wrong"} if is_asked else {}
    hear(connection, "input_audio_buffer.append")
    say(connection, type="transcription.delta", delta="one", start_s=0, end_s=0.1, **guess)
    while not hear(connection, "input_audio_buffer.commit")["final"]:
        pass
    say(connection, type="transcription.delta", delta=" two", start_s=0.1, end_s=0.2)
    say(connection, type="transcription.done", text="one two", duration_s=60)


@pytest.mark.parametrize("in_terminal", [True, False])
def test_tentative_words_are_dim_on_a_terminal_and_nowhere_else(
    start_microphone: StartMicrophone, tmp_path: Path, in_terminal: bool
) -> None:
    saved, captions = tmp_path / "saved.txt", tmp_path / "live.srt"
    files = ("--save", saved, "--captions", captions)
    with server(guessing) as address:
        program = start_microphone("--url", address, *files, in_terminal=in_terminal)
        program.out.wait_for("one wrong" if in_terminal else "one")
        program.interrupt()
        assert program.wait() == 0
    assert ("\x1b[2m wrong\x1b[0m" in program.out.raw) == in_terminal
    assert program.out.text.splitlines()[-1] == "one two"
    assert saved.read_text() == "one two\n"
    assert "wrong" not in captions.read_text() + ("" if in_terminal else program.out.text)


# How it ends.


def test_a_second_ctrl_c_quits_at_once(start_microphone: StartMicrophone) -> None:
    def deaf(connection: ServerConnection) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        say(connection, type="transcription.delta", delta="one", end_s=0.1)
        while not hear(connection, "input_audio_buffer.commit")["final"]:
            pass
        program.interrupt()
        connection.recv(timeout=DEADLINE_S)

    with server(deaf) as address:
        program = start_microphone("--url", address, in_terminal=True)
        program.out.wait_for("one")
        program.interrupt()
        assert program.wait() == 130
    assert program.out.text.splitlines()[-1] == "one"


def test_a_terminal_that_closes_costs_no_word(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
    tmp_path: Path,
) -> None:
    saved = tmp_path / "saved.json"
    files = ("--format", "json", "--save", saved)
    program = start_microphone("--url", fake_server.url, *files, in_terminal=True)
    sound_card.play(numbers_wav(loud(hill(10))))
    program.interrupt(signal.SIGHUP)
    assert program.wait() == 0
    assert heard(json.loads(saved.read_text())["text"]) == hill(10)


def test_an_unplugged_microphone_ends_it_with_the_last_words(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
) -> None:
    program = start_microphone("--url", fake_server.url)
    sound_card.play(numbers_wav(loud(hill(10))))
    sound_card.unplug()
    assert program.wait() == 1
    assert heard(program.out.text) == hill(10)
    assert "default stopped recording: was it unplugged?" in program.err.text.splitlines()[-1]


def test_a_reader_that_leaves(
    sound_card: SoundCard, fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    command = [sys.executable, str(PROJECT_DIR / SCRIPT), "--url", fake_server.url]
    pipe, environ = subprocess.PIPE, {**os.environ, **sound_card.environment}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environ, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert "Ctrl-C ends" in program.stderr.readline()
        sound_card.play(numbers_wav(loud(hill(10))))
        assert program.stderr.read() == f"{SCRIPT}: cannot write the transcript: Broken pipe\n"
    assert program.returncode == 1


def failure(program: Program) -> str:
    """The one line of a client that fails."""
    assert program.wait() == 1
    assert program.out.text == ""
    *_, line = program.err.text.splitlines()
    assert line.startswith(f"{SCRIPT}: ")
    return line


def test_a_server_that_was_never_there(start_microphone: StartMicrophone) -> None:
    line = failure(start_microphone("--url", f"127.0.0.1:{refused_port()}"))
    assert "Connection refused" in line


def test_a_model_that_the_server_does_not_have(
    start_microphone: StartMicrophone, fake_server: Server
) -> None:
    line = failure(start_microphone("--url", fake_server.url, "--model", "other"))
    assert "this server has: fake-numbers" in line


def test_a_file_that_cannot_be_written(
    start_client: StartClient, tmp_path: Path, fake_server: Server
) -> None:
    program = start_client(SCRIPT, "--url", fake_server.url, "--save", tmp_path)
    assert "cannot write --save" in failure(program)


def test_no_such_microphone(start_client: StartClient, sound_card: SoundCard) -> None:
    program = start_client(SCRIPT, "--device", "Neumann", **sound_card.environment)
    assert "choose from: 0 pulse, 1 default" in failure(program)


def test_no_microphone(start_client: StartClient, sound_card: SoundCard) -> None:
    sound_card.unplug()
    recording = start_client(SCRIPT, **sound_card.environment)
    assert "no microphone to record from" in failure(recording)
    listing = start_client(SCRIPT, "--list-devices", **sound_card.environment)
    assert "no microphone: plug one in" in failure(listing)


LATE = """
import sounddevice

start, times_left = sounddevice.InputStream.start, {times}

def start_late(stream):
    global times_left
    if times_left:
        times_left -= 1
        print("late")
        raise sounddevice.PortAudioError("Wait timed out", -9987)
    start(stream)

sounddevice.InputStream.start = start_late
"""
"""What PortAudio says of a sound system that is stopped for a second while a stream starts."""


def make_late(sound_card: SoundCard, folder: Path, times: int) -> None:
    """Have the card's first streams start late, so many of them."""
    (folder / "sitecustomize.py").write_text(LATE.format(times=times))
    sound_card.environment["PYTHONPATH"] = str(folder)


def test_a_sound_system_that_starts_late_is_tried_again(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    numbers_wav: MakeNumbers,
    fake_server: Server,
    tmp_path: Path,
) -> None:
    make_late(sound_card, tmp_path, 2)
    program = start_microphone("--url", fake_server.url)
    sound_card.play(numbers_wav(loud(hill(3))))
    program.interrupt()
    assert program.wait() == 0
    assert heard(program.out.text.removeprefix("late\n" * 2)) == hill(3)


def test_a_sound_system_that_never_starts(
    start_client: StartClient, sound_card: SoundCard, tmp_path: Path
) -> None:
    make_late(sound_card, tmp_path, 9)
    program = start_client(SCRIPT, **sound_card.environment)
    assert program.wait() == 1
    assert program.out.text == "late\n" * 3
    assert program.err.text.startswith(f"{SCRIPT}: no microphone to record from: Wait timed out")


def test_no_portaudio(start_client: StartClient, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    line = failure(start_client(SCRIPT, PYTHONPATH=str(tmp_path)))
    assert "(PortAudio library not found)" in line
    assert "sudo apt install libportaudio2" in line
    assert "brew install portaudio" in line


def test_microphones_are_listed(start_client: StartClient, sound_card: SoundCard) -> None:
    program = start_client(SCRIPT, "--list-devices", **sound_card.environment)
    assert program.wait() == 0
    assert program.out.text.splitlines() == ["   0 pulse (44100 Hz)", "*  1 default (44100 Hz)"]
