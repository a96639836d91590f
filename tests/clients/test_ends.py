"""Names of files, streams and locales as shells hand them to the clients: text, or one line."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from websockets.sync.server import ServerConnection

import test_file_transcribe as client
from clients.audio_source import AudioSource, missing_line
from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from tests.clients.listening import sent
from tests.clients.peers import greet, hear, say, server
from tests.servers import Server
from tests.support import DEADLINE_S

FILE_CLIENT, MICROPHONE_CLIENT = "test_file_transcribe.py", "stream_microphone.py"
CARD = PROJECT_DIR / "tests/clients/card"
ODD = os.fsdecode(b"\xff\xfe.wav")
LETTERS = "caf\u00e9 \u8a9e"


def shell(
    script: str, folder: Path, url: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in a folder; in it, `file` and `microphone` are the clients."""
    lines = [
        f'{name}() {{ "{sys.executable}" "{PROJECT_DIR / path}" --url {url} "$@"; }}'
        for name, path in (("file", FILE_CLIENT), ("microphone", MICROPHONE_CLIENT))
    ]
    return subprocess.run(
        ["bash", "-c", "\n".join([*lines, "set -o pipefail", script])],
        env={**os.environ, "PYTHONPATH": str(CARD), **environment},
        cwd=folder,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the numbers 1 to 3 in files of several names."""
    path = tmp_path_factory.mktemp("ends")
    for name in ("a.wav", "-", ODD):
        soundfile.write(str(path / "new"), spoken([1, 2, 3]), 16_000, "PCM_16", format="WAV")
        (path / "new").rename(path / name)
    os.mkfifo(path / "pipe")
    return path


DONE = "0.2 s of audio in "
CANNOT_WRITE = f"{FILE_CLIENT}: cannot write the transcript"
ENDS = [
    (r"file --audio_path $'\xff\xfe.wav'", 0, "1 2 3\n", DONE),
    ("file --audio_path ./-", 0, "1 2 3\n", DONE),
    ("file --audio_path a.wav <&-", 0, "1 2 3\n", DONE),
    ("file --audio_path - < a.wav", 0, "1 2 3\n", DONE),
    ("cat a.wav | file --audio_path -", 0, "1 2 3\n", DONE),
    ("file --audio_path <(cat a.wav)", 0, "1 2 3\n", DONE),
    ("cat a.wav > pipe & file --audio_path pipe", 0, "1 2 3\n", DONE),
    ("file --audio_path - <&-", 1, "", f"{FILE_CLIENT}: cannot read stdin: it is closed"),
    ("true | file --audio_path -", 1, "", f"{FILE_CLIENT}: stdin: "),
    (r"file --audio_path $'\xff'", 1, "", rf"{FILE_CLIENT}: cannot read \xff: No such file"),
    ("file --audio_path a.wav >&-", 1, "", f"{CANNOT_WRITE}: stdout is closed"),
    ("file --audio_path a.wav > /dev/full", 1, "", f"{CANNOT_WRITE}: No space left on device"),
    ("file --audio_path a.wav --json > /dev/full", 1, "", f"{CANNOT_WRITE}: No space left"),
    ("file --audio_path a.wav 2>&-", 0, "1 2 3\n", ""),
    ("file --audio_path a.wav 2> /dev/full", 0, "1 2 3\n", ""),
    ("file --audio_path nothing.wav > /dev/full 2>&1", 1, "", ""),
    ("file --audio_path nothing.wav >&- 2>&-", 1, "", ""),
    ("file --audio_path a.wav --format srt | true", 1, "", f"{CANNOT_WRITE}: Broken pipe"),
    ("file --audio_path a.wav --track 2", 2, "", f"{FILE_CLIENT}: a.wav: "),
    ("file --audio_path a.wav --reference nope.txt", 1, "", "the reference nope.txt: No such file"),
    ("file --help > /dev/full", 1, "", "cannot write the transcript: No space left on device"),
    ("microphone --list-devices", 0, "*  0 file (16000 Hz)\n", ""),
    ("microphone --list-devices 2>&-", 0, "*  0 file (16000 Hz)\n", ""),
    ("microphone --list-devices >&-", 1, "", "cannot write the transcript: stdout is closed"),
    ("microphone --list-devices > /dev/full", 1, "", "cannot write the transcript: No space left"),
]


@pytest.mark.parametrize(("script", "status", "out", "told"), ENDS, ids=lambda _: "")
def test_a_line_of_a_shell_gives_text_or_one_line(
    fake_server: Server, folder: Path, script: str, status: int, out: str, told: str
) -> None:
    ended = shell(script, folder, fake_server.url)
    err = ended.stderr.decode()
    assert (ended.returncode, ended.stdout.decode()) == (status, out), err
    assert told in err
    assert len(err.splitlines()) == (1 if told else 0)


def test_the_microphone_needs_nobody_who_reads_remarks(fake_server: Server, folder: Path) -> None:
    command = ["bash", "-c", f'exec "$0" "$@" --url {fake_server.url} 2> /dev/full']
    program = subprocess.Popen(
        [*command, sys.executable, str(PROJECT_DIR / MICROPHONE_CLIENT)],
        env={**os.environ, "PYTHONPATH": str(CARD), "CARD_WAV": str(folder / "a.wav")},
        stdout=subprocess.PIPE,
    )
    assert program.stdout
    with program.stdout as words:
        assert words.read(5) == b"1 2 3"
        program.send_signal(signal.SIGINT)
        assert words.read() == b"\n"
    assert program.wait(DEADLINE_S) == 0


# Locales.


def letters(connection: ServerConnection) -> None:
    """A server that says LETTERS."""
    greet(connection)
    while not hear(connection, "input_audio_buffer.commit").get("final"):
        pass
    say(connection, type="transcription.delta", delta=LETTERS, start_s=0.0, end_s=0.1)
    say(connection, type="transcription.done", text=LETTERS, duration_s=0.24)
    connection.recv(timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def letters_at() -> Iterator[str]:
    """The address of a server that says LETTERS."""
    with server(letters) as address:
        yield address


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_YY"},
        {"LC_ALL": "en_US.ISO-8859-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=str,
)
def test_a_locale_loses_no_letter(
    letters_at: str, folder: Path, environment: dict[str, str]
) -> None:
    """What its encoding lacks comes as a number."""
    ended = shell(r"file --audio_path $'\xff\xfe.wav'", folder, letters_at, **environment)
    assert ended.returncode == 0, ended.stderr
    encoding = environment.get("PYTHONIOENCODING") or (
        "ascii" if "PYTHONUTF8" in environment else "utf-8"
    )
    assert ended.stdout == f"{LETTERS}\n".encode(encoding, errors="backslashreplace")


# References.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_reference_is_read_as_editors_save_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "reference.txt"
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    path.write_bytes(f"{mark}Un Caf\u00e9!\r\n".encode(encoding))
    assert client.read_reference(path) == "un caf\u00e9"


@pytest.mark.parametrize("data", ["caf\u00e9".encode("latin-1"), b"\xff\xfea"])
def test_a_reference_that_is_no_text_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / ODD
    path.write_bytes(data)
    with pytest.raises(client.Trouble) as caught:
        client.read_reference(path)
    shown = str(path).replace(ODD, r"\xff\xfe.wav")
    assert (
        str(caught.value) == f"the reference {shown} is not text in UTF-8, or in UTF-16 with a mark"
    )


# Files that change while they are read.


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("is_longer", [False, True])
def test_a_file_that_changes_while_it_is_read_is_read(
    tmp_path: Path, kind: str, is_longer: bool
) -> None:
    path = tmp_path / "talk"
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, 60 * 16_000)
    soundfile.write(path, noise, 16_000, format=kind)
    data = path.read_bytes()

    async def listen() -> tuple[float, list[str]]:
        with closing(AudioSource(str(path))) as source:
            await source.chunk(0, 0.5)
            if is_longer:
                path.write_bytes(data + data[-200_000:])
            else:
                os.truncate(path, len(data) // 2)
            sound = await sent(source)
            return len(sound) / 16_000, list(map(missing_line, source.missing))

    seconds, missing = asyncio.run(listen())
    assert seconds > (59.5 if is_longer else 25)
    assert seconds > 59.5 or missing


def test_what_libraries_print_is_dropped() -> None:
    """They write to the number of stderr, without Python."""
    script = (
        "import os, sys; from clients.output import open_streams; open_streams();"
        "os.write(2, b'Note: Illegal Audio-MPEG-Header'); sys.stderr.write('a remark')"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, check=True)
    assert done.stderr == b"a remark"
