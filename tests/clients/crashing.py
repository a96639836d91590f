"""Servers that go while people speak: both clients, in terminals and pipes, and what they show."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lanscribe import PROJECT_DIR
from tests.clients.conftest import StartClient
from tests.clients.program import Program
from tests.clients.screen import Terminal
from tests.servers import ServerProcess

COLUMNS, LINES = 90, 24
CARD = PROJECT_DIR / "tests/clients/card"
REMARK = re.compile(
    r"trying again|connected again|the server (is behind|has caught up)|^recording from"
    r"|nothing but digital silence|sends only silence|hardly any sound"
    r"|of audio in .* s, first words"
)
RETURN = "connected again"
BURN = [sys.executable, "-c", "while True: pass"]


@dataclass
class Listener:
    """A client that listens to a recording at the speed of speech."""

    program: Program
    is_microphone: bool
    in_terminal: bool

    @property
    def name(self) -> str:
        kind = "microphone" if self.is_microphone else "file"
        return f"{kind} client in a {'terminal' if self.in_terminal else 'pipe'}"

    @property
    def returns(self) -> int:
        """How often it has come back to a server."""
        return self.program.err.raw.count(RETURN)

    def wait_for_return(self, count: int) -> None:
        """Until it has come back more than so often, or is done."""
        self.program.err.is_ever(lambda text: text.count(RETURN) > count)

    def wait_for_words(self, count: int, last_words: str) -> None:
        """Until it shows so many more, in a pipe, or all there are."""
        out = self.program.out
        words = out.raw.count(" ") + count
        is_there = out.is_ever(lambda text: text.count(" ") >= words or last_words in text)
        assert is_there, (self.name, out.text[-200:], self.program.err.text[-2000:])

    def text(self) -> str:
        """What is left of the transcript where a person reads it."""
        if not self.in_terminal:
            return self.program.out.text
        screen = Terminal(COLUMNS, LINES)
        screen.write(self.program.out.raw)
        return "\n".join(row for row in screen.lines if not REMARK.search(row))

    def finish(self, last_words: str) -> None:
        """Wait for the last words; a speaker ends then."""
        if self.is_microphone:
            self.program.out.wait_for(last_words)
            self.program.interrupt()
        assert self.program.wait() == 0, (self.name, self.program.err.text[-2000:])


def listeners(start_client: StartClient, server: ServerProcess, wav: Path) -> list[Listener]:
    """Both clients, each in a terminal and in pipes."""
    found = []
    for in_terminal in (False, True):
        size = {"COLUMNS": str(COLUMNS), "LINES": str(LINES)} if in_terminal else {}
        arguments: tuple[str | Path, ...] = ("--audio_path", wav, "--realtime", "--url", server.url)
        program = start_client(
            "test_file_transcribe.py", *arguments, in_terminal=in_terminal, **size
        )
        found.append(Listener(program, is_microphone=False, in_terminal=in_terminal))
        card = {"CARD_WAV": str(wav), "PYTHONPATH": str(CARD), **size}
        arguments = ("--url", server.url)
        program = start_client("stream_microphone.py", *arguments, in_terminal=in_terminal, **card)
        found.append(Listener(program, is_microphone=True, in_terminal=in_terminal))
    return found


def go(server: ServerProcess, way: str) -> None:
    """Let the server go as `way` says; it is ready again on return."""
    if way == "restart":
        server.restart_in_place()
        return
    server.kill() if way == "kill" else server.stop()
    server.restart()


def trouble(
    server: ServerProcess,
    heard: Sequence[Listener],
    ways: Sequence[str],
    rng: Random,
    last_words: str,
) -> None:
    """Let the server go again and again, at moments of the seed: in the middle of words, and
    while the clients still come back from the time before."""
    pipes = [one for one in heard if not one.in_terminal]
    for way in ways:
        returns = [one.returns for one in heard]
        if rng.random() < 0.8:
            rng.choice(pipes).wait_for_words(rng.randint(1, 12), last_words)
        go(server, way)
        if rng.random() < 0.8:
            for one, count in zip(heard, returns, strict=True):
                one.wait_for_return(count)


@contextmanager
def busy_machine(processes: int) -> Iterator[None]:
    """So many programs that never pause run meanwhile."""
    burning = [subprocess.Popen(BURN) for _ in range(processes)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()
