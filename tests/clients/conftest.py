"""The clients as programs, and something for them to transcribe."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import soundfile

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from tests.clients.program import Program
from tests.clients.sound import SoundCard

StartClient = Callable[..., Program]
StartMicrophone = Callable[..., Program]
MakeNumbers = Callable[..., Path]


@pytest.fixture
def start_client() -> Iterator[StartClient]:
    """Run one: start_client("stream_microphone.py", "--url", url, in_terminal=True, HOME="/x")."""
    programs: list[Program] = []

    def start(
        script: str,
        *arguments: str | Path,
        in_terminal: bool = False,
        stdin: int = subprocess.DEVNULL,
        **env: str,
    ) -> Program:
        program = Program(script, *arguments, environment=env, in_terminal=in_terminal, stdin=stdin)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def numbers_wav(tmp_path: Path) -> Callable[..., Path]:
    """Make a file in which the fake engine hears numbers: numbers_wav([1, 2, 3])."""

    def make(numbers: list[int], rate_hz: int = 16_000) -> Path:
        path = tmp_path / f"{len(numbers)}-numbers.wav"
        soundfile.write(path, spoken(numbers), rate_hz, subtype="PCM_16")
        return path

    return make


@pytest.fixture(scope="session")
def speech() -> Path:
    """Real speech: 'Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.'"""
    path = PROJECT_DIR / "models/samples/beckett.wav"
    assert path.exists(), "the model is missing; run: bash setup.sh"
    return path


@pytest.fixture
def sound_card() -> Iterator[SoundCard]:
    """A sound card of the test's own, at 44.1 kHz, whose microphone hears what is played."""
    with SoundCard() as card:
        yield card


@pytest.fixture
def start_microphone(start_client: StartClient, sound_card: SoundCard) -> StartMicrophone:
    """Run the client on the sound card, until it records; rate_hz: at which rate it has to.

    libjack crashes before that where a thread of it starts more than a second late, which late_jack
    shows; after such a crash the client is started once more.
    """

    def start(*arguments: str | Path, in_terminal: bool = False, rate_hz: int = 44_100) -> Program:
        def records(told: str) -> bool:
            return f"recording from default at {rate_hz} Hz; Ctrl-C ends" in told

        script = "stream_microphone.py"
        run = partial(start_client, script, *arguments, in_terminal=in_terminal)
        program = run(**sound_card.environment)
        if not program.err.is_ever(records) and program.wait() == -signal.SIGSEGV:
            program = run(**sound_card.environment)
        program.err.wait_until(records)
        return program

    return start
