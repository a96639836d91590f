"""Where the clients write: the transcript to stdout, whatever stdout and stderr are."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import stream_microphone
import test_file_transcribe
from lanscribe import PROJECT_DIR
from tests.clients.conftest import MakeNumbers
from tests.clients.program import Stream
from tests.servers import Server
from tests.support import DEADLINE_S

WRITING = {
    "test_file_transcribe": (
        "screen = client.Screen(1.0, shows_text=True); screen.start();"
        "screen.write('one'); screen.write(' two'); screen.close(is_whole=True)"
    ),
    "stream_microphone": (
        "screen = client.Screen(None, 'txt', None); screen.start();"
        "screen.write('one', 0.0, 0.1); screen.write(' two', 0.1, 0.2); screen.close()"
    ),
}
CLIENTS = (test_file_transcribe, stream_microphone)


def redirected(path: Path, *command: str | Path) -> str:
    """Run it as `command > path` in a terminal; what the terminal shows."""
    mine, its = pty.openpty()
    with path.open("wb") as out:
        program = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**os.environ, "TERM": "xterm-256color"},
            cwd=PROJECT_DIR,
            stdin=its,
            stdout=out,
            stderr=its,
        )
    os.close(its)
    shown = Stream(mine)
    assert program.wait(DEADLINE_S) == 0, shown.text
    shown.join()
    return shown.text


@pytest.mark.parametrize("client", list(WRITING))
def test_a_screen_writes_the_transcript_where_stdout_goes(client: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    shown = redirected(notes, "-c", f"import {client} as client; {WRITING[client]}")
    assert (notes.read_text(), "one" in shown) == ("one two\n", False)


def test_a_redirected_transcript_is_in_its_file(
    fake_server: Server, numbers_wav: MakeNumbers, tmp_path: Path
) -> None:
    notes, path = tmp_path / "notes.txt", numbers_wav([1, 2, 3])
    command = (PROJECT_DIR / "test_file_transcribe.py", "--url", fake_server.url)
    shown = redirected(notes, *command, "--audio_path", path)
    assert notes.read_text() == "1 2 3\n"
    assert "s of audio in" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_signal_after_the_end_waits_for_what_is_to_be_written(
    client: ModuleType, number: signal.Signals
) -> None:
    """One that comes when nothing is listened to any more; the next one kills."""
    acted: list[str] = []

    async def run() -> None:
        with client.ending(lambda: acted.append("in time")):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
            os.kill(os.getpid(), number)  # acts only when all is over

    before = {
        name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        asyncio.run(run())
        os.kill(os.getpid(), number)
        assert acted == ["in time"]
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
