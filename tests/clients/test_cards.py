"""Sound cards that refuse a rate, fail, or send zeros, and what the microphone client prints."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stream_microphone as client
from lanscribe import PROJECT_DIR
from tests.clients.conftest import MakeNumbers, StartClient, StartMicrophone
from tests.clients.sound import SoundCard
from tests.clients.test_microphone_client import heard, hill, loud
from tests.servers import Server
from tests.support import DEADLINE_S

SCRIPT = "stream_microphone.py"
C_LINE = "Expression 'ret' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 1736"
REFUSING = """
import os
import sounddevice

create, close = sounddevice.InputStream.__init__, sounddevice.InputStream.close

def refuse(stream, *args, samplerate, **kwargs):
    if samplerate not in {rates}:
        os.write(2, b{line!r} + b"\\n")
        raise sounddevice.PortAudioError("Error opening InputStream: {what}", {code})
    create(stream, *args, samplerate=samplerate, **kwargs)

def close_aloud(stream, **kwargs):
    os.write(2, b{line!r} + b"\\n")
    close(stream, **kwargs)

sounddevice.InputStream.__init__ = refuse
sounddevice.InputStream.close = close_aloud
"""
"""What PortAudio does with a card that has only these rates, and prints in C meanwhile."""


def refuse(
    sound_card: SoundCard,
    folder: Path,
    rates_hz: list[float],
    what: str = "Invalid sample rate",
    code: int = -9997,
) -> None:
    """Have the card refuse all other rates."""
    hook = REFUSING.format(rates=rates_hz, line=C_LINE, what=what, code=code)
    (folder / "sitecustomize.py").write_text(hook)
    sound_card.environment["PYTHONPATH"] = str(folder)


# Rates.


@pytest.mark.parametrize("rate_hz", [48_000, 16_000])
def test_a_card_that_refuses_its_own_rate_is_asked_for_the_usual_ones(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
    tmp_path: Path,
    rate_hz: int,
) -> None:
    refuse(sound_card, tmp_path, [rate_hz])
    program = start_microphone("--url", fake_server.url, rate_hz=rate_hz)
    sound_card.play(numbers_wav(loud(hill(10))))
    program.interrupt()
    assert program.wait() == 0
    assert heard(program.out.text) == hill(10)
    assert program.err.text == f"recording from default at {rate_hz} Hz; Ctrl-C ends\n"


@pytest.mark.parametrize(
    ("what", "code", "advice"),
    [
        ("Invalid sample rate", -9997, "no usual rate works either; choose another with --device"),
        ("Device unavailable", -9985, "does another program have it? or choose another with"),
        ("Internal PortAudio error", -9986, "see --list-devices"),
    ],
)
def test_a_card_that_cannot_be_used_is_told_in_one_line(
    start_client: StartClient,
    sound_card: SoundCard,
    tmp_path: Path,
    what: str,
    code: int,
    advice: str,
) -> None:
    refuse(sound_card, tmp_path, [], what, code)
    program = start_client(SCRIPT, **sound_card.environment)
    assert program.wait() == 1
    (line,) = program.err.text.splitlines()
    assert line.startswith(f"{SCRIPT}: no microphone to record from: Error opening InputStream: ")
    assert f"{what} [PaErrorCode {code}]; {advice}" in line


# What libraries in C print.


def test_a_sound_system_that_does_not_start_is_one_line(
    start_client: StartClient, sound_card: SoundCard
) -> None:
    """ALSA's settings cannot be read."""
    settings = Path(sound_card.environment["HOME"], ".asoundrc")
    settings.write_text(f"{settings.read_text()}pcm.x [\n")
    for arguments in (["--list-devices"], []):
        ended = start_client(SCRIPT, *arguments, **sound_card.environment)
        assert ended.wait() == 1
        (line,) = ended.err.text.splitlines()
        assert line.startswith(f"{SCRIPT}: no sound: Error initializing PortAudio: ")
        assert "; do other programs record? on Linux ~/.asoundrc may be wrong" in line


def test_a_microphone_that_is_unplugged_is_one_line(
    start_microphone: StartMicrophone,
    sound_card: SoundCard,
    fake_server: Server,
    numbers_wav: MakeNumbers,
    tmp_path: Path,
) -> None:
    refuse(sound_card, tmp_path, [44_100])
    saved = tmp_path / "saved.txt"
    program = start_microphone("--url", fake_server.url, "--save", saved)
    sound_card.play(numbers_wav(loud(hill(10))))
    sound_card.unplug()
    assert program.wait() == 1
    assert heard(program.out.text) == heard(saved.read_text()) == hill(10)
    assert program.err.text.splitlines() == [
        "recording from default at 44100 Hz; Ctrl-C ends",
        f"{SCRIPT}: default stopped recording: was it unplugged?",
    ]


CRASH = """
import ctypes
import os
import {client} as client

client.open_streams()
os.write(2, b"a line in C")
{end}
"""


@pytest.mark.parametrize("name", ["stream_microphone", "test_file_transcribe"])
@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("ctypes.string_at(0)", "Fatal Python error: Segmentation fault"),
        ("os.abort()", "Fatal Python error: Aborted"),
        ("raise ValueError('a mistake')", "ValueError: a mistake"),
    ],
)
def test_what_python_says_of_a_crash_is_shown(name: str, end: str, told: str) -> None:
    program = [sys.executable, "-c", CRASH.format(client=name, end=end)]
    ended = subprocess.run(
        program, cwd=PROJECT_DIR, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert ended.returncode != 0
    assert told in ended.stderr
    assert 'File "<string>", line ' in ended.stderr
    assert "a line in C" not in ended.stderr


# Zeros.


@pytest.mark.parametrize(
    ("platform", "terminal", "allowed"),
    [
        ("linux", "", ""),
        ("win32", "", ""),
        ("darwin", "Apple_Terminal", "System Settings, Privacy & Security, Microphone, Terminal"),
        ("darwin", "iTerm.app", "System Settings, Privacy & Security, Microphone, iTerm"),
        ("darwin", "", "System Settings, Privacy & Security, Microphone, this terminal"),
        ("android", "", "Android's Settings, Apps, Termux and Termux:API, Permissions"),
    ],
)
def test_zeros_name_the_permission_where_a_system_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, platform: str, terminal: str, allowed: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux" if platform == "android" else platform)
    monkeypatch.setenv("TERM_PROGRAM", terminal)
    if platform == "android":
        monkeypatch.setattr(sys, "getandroidapilevel", lambda: 30, raising=False)
    end = f" Or allow it: {allowed}" if allowed else ""
    zeros = np.zeros(16_000 * 6, dtype=np.float32)
    assert client.Meter().feed(zeros) == f"the microphone sends only silence: is it muted?{end}"
    done = {"type": "transcription.done", "no_speech": {"code": "zeros"}}
    line = client.no_speech(client.Event(json.dumps(done)), 6.0)
    assert line.endswith(f"was the microphone muted, or without permission?{end}")
