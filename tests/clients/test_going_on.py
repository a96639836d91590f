"""Both clients, when sockets are cut and servers go: each word comes once, at its time."""

import asyncio
import json
import random
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from websockets.sync.server import ServerConnection

import stream_microphone
from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from test_file_transcribe import normalised
from tests.clients.conftest import MakeNumbers, StartClient
from tests.clients.peers import greet, hear, say, server
from tests.clients.test_file_client import BECKETT, counted
from tests.clients.test_microphone_parts import Paper
from tests.cutting import Cut, Relay, relay
from tests.servers import ServeHere, Server, StartServer
from tests.sounds import with_holes
from tests.support import DEADLINE_S

FILE_CLIENT = "test_file_transcribe.py"
CUTS = 24
HOLES = [(16.0, 100.0), (48.0, 30.0)]
"""At which second of the sound, and for how long nothing was recorded."""
NUMBERS = list(range(1, 1_201))
GREETING_BYTES = 1_500
"""Within them a connection is made; a server that was never reached is not tried again."""


def cuts(
    seed: int, count: int, *, up: int = 60_000, down: int = 4_000, least: int = 1
) -> Iterator[Cut]:
    """At random bytes, the first one after the greeting, whichever direction comes first."""
    rng = random.Random(seed)
    for number in range(count):
        least_bytes = least if number else GREETING_BYTES
        sizes = rng.randint(least_bytes, up), rng.randint(least_bytes, down)
        yield Cut(sizes[0], True, sizes[1], is_unnoticed=least == 1 and rng.random() < 0.5)


async def run_file_client(
    wire: Relay, path: Path | bytes, model: str, *arguments: str
) -> tuple[str, str]:
    """Run it through the relay to its good end, with a file or with stdin; stdout and stderr."""
    name, data = ("-", path) if isinstance(path, bytes) else (path, b"")
    command = [PROJECT_DIR / FILE_CLIENT, "--audio_path", name, "--model", model, *arguments]
    pipe = asyncio.subprocess.PIPE
    url = f"127.0.0.1:{wire.port}"
    program = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, command), "--url", url, stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = await asyncio.wait_for(program.communicate(data), DEADLINE_S)
    assert program.returncode == 0, err
    return out.decode(), err.decode()


def transcribe_file(
    port: int, path: Path | bytes, some: Iterator[Cut], *arguments: str
) -> tuple[str, int]:
    """What the file client prints behind a bad network, and how many cuts it met."""

    async def scenario() -> tuple[str, int]:
        async with relay(port, some) as wire:
            out, _ = await run_file_client(wire, path, *arguments)
            return out, wire.cuts_made

    return asyncio.run(scenario())


def speak(port: int, samples: Any, some: Iterator[Cut], model: str) -> tuple[Paper, int]:
    """What the microphone client prints behind a bad network, and how many cuts it met."""

    async def scenario() -> tuple[Paper, int]:
        ring = stream_microphone.Ring(10**8)
        ring.append(samples)
        ring.is_closed = True
        async with relay(port, some) as wire, asyncio.timeout(DEADLINE_S):
            url = f"127.0.0.1:{wire.port}"
            options = stream_microphone.parse_options(["--url", url, "--model", model])
            paper: Any = Paper()
            await stream_microphone.Talk(options, ring, paper).run()
            return paper, wire.cuts_made

    return asyncio.run(scenario())


def assert_in_time(words: Sequence[tuple[str, float, float]]) -> None:
    """Each of the numbers once, where its frame is."""
    assert [int(text) for text, _, _ in words] == NUMBERS
    starts_s, ends_s = (np.array([word[at] for word in words]) for at in (1, 2))
    frames_s = np.arange(len(NUMBERS)) * 0.08
    assert starts_s == pytest.approx(frames_s, abs=2e-3)
    assert ends_s == pytest.approx(frames_s + 0.08, abs=2e-3)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between the attempts of a client in this process."""
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


# Sockets that are cut.


def test_a_file_comes_through_a_bad_network_whole(
    fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    path, some = numbers_wav(NUMBERS), cuts(1, CUTS)
    out, cuts_made = transcribe_file(fake_server.port, path, some, "fake-numbers")
    assert out == f"{counted(len(NUMBERS))}\n"
    assert cuts_made == CUTS


def test_a_pipe_comes_through_a_bad_network_whole(
    fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    data, some = numbers_wav(NUMBERS).read_bytes(), cuts(7, CUTS)
    out, cuts_made = transcribe_file(fake_server.port, data, some, "fake-numbers")
    assert out == f"{counted(len(NUMBERS))}\n"
    assert cuts_made == CUTS


def test_times_are_those_of_a_recording_with_holes_through_a_bad_network(
    fake_server: Server, tmp_path: Path
) -> None:
    (path := tmp_path / "holes.mkv").write_bytes(with_holes(spoken(NUMBERS), HOLES))
    arguments = ("fake-numbers", "--format", "json")
    out, cuts_made = transcribe_file(fake_server.port, path, cuts(8, 8), *arguments)
    assert cuts_made == 8
    told = json.loads(out)
    missing = [(part["code"], part["start"], part["end"]) for part in told["missing"]]
    assert missing == [
        ("gap", pytest.approx(16, abs=0.1), pytest.approx(116, abs=0.1)),
        ("gap", pytest.approx(148, abs=0.1), pytest.approx(178, abs=0.1)),
    ]
    assert told["duration"] == pytest.approx(0.08 * len(NUMBERS) + 130, abs=0.1)
    words = {word["word"]: word["start"] for word in told["words"]}
    assert list(words) == counted(len(NUMBERS)).split()
    for number, start_s in enumerate(words.values()):
        later_s = sum(length_s for at_s, length_s in HOLES if at_s <= 0.08 * number + 0.01)
        assert start_s == pytest.approx(0.08 * number + later_s, abs=0.1)


def test_words_of_a_file_keep_their_times_through_a_bad_network(
    fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    path, some = numbers_wav(NUMBERS), cuts(2, 8)
    arguments = ("fake-numbers", "--format", "json")
    out, cuts_made = transcribe_file(fake_server.port, path, some, *arguments)
    assert_in_time([tuple(word.values()) for word in json.loads(out)["words"]])
    assert cuts_made == 8


@pytest.mark.usefixtures("impatience")
def test_what_is_spoken_comes_through_a_bad_network_whole(fake_server: Server) -> None:
    paper, cuts_made = speak(fake_server.port, spoken(NUMBERS), cuts(3, CUTS), "fake-numbers")
    assert paper.text == counted(len(NUMBERS))
    assert_in_time(paper.words)
    assert cuts_made == CUTS


def test_speech_comes_through_a_bad_network_whole(embedded_server: Server, speech: Path) -> None:
    some, model = partial(cuts, count=6, up=90_000, down=2_500), "moonshine-base-en"
    out, cuts_made = transcribe_file(embedded_server.port, speech, some(4), model)
    assert normalised(out) == BECKETT
    assert cuts_made == 6
    samples, _ = soundfile.read(speech, dtype="float32")
    paper, cuts_made = speak(embedded_server.port, samples, some(5), model)
    assert normalised(paper.text) == BECKETT
    assert cuts_made == 6


# Servers that have the session no more.


def test_a_session_that_the_server_gave_up_is_begun_anew_at_once(
    serve_here: ServeHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Mock(return_value=0.01)  # seconds; the server keeps a session for a tenth of it
    monkeypatch.setattr(random, "uniform", pause)
    running = serve_here(resume={"keep_s": 0.001})
    some = cuts(6, 9, up=200_000, down=20_000, least=GREETING_BYTES)
    paper, cuts_made = speak(running.port, spoken(NUMBERS), some, "fake-numbers")
    assert_in_time(paper.words)
    assert cuts_made >= 4  # between two of them the server refuses
    assert "running session" in running.log
    assert pause.call_count == cuts_made


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_file_survives_a_server_that_is_started_again(
    start_client: StartClient, start_server: StartServer, numbers_wav: MakeNumbers, end: str
) -> None:
    running, count = start_server("fake"), 60
    path = numbers_wav(list(range(1, count + 1)))
    program = start_client(FILE_CLIENT, "--audio_path", path, "--url", running.url, "--realtime")
    program.out.wait_for(" 20 ")
    getattr(running, end)()
    program.err.wait_for("(trying again)")
    running.restart()
    program.err.wait_for("connected again")
    assert program.wait() == 0
    assert program.out.text == f"{counted(count)}\n"


# What is told, and what is asked for.


def behind(connection: ServerConnection) -> None:
    """Fall behind, catch up, and fail on the end of the audio."""
    keep = {"token": "t", "keep_s": 60.0}
    say(connection, type="session.created", id="s", created=1, seq=1, resume=keep)
    assert hear(connection, "session.update")["resume"] is True
    assert hear(connection, "input_audio_buffer.append")["seen"] == 1
    for number, lag_s in enumerate([0.4, 6.6, 7.0, 2.0, 0.1]):
        lag = {"lag_s": lag_s} | ({"is_behind": True} if lag_s > 1 else {})
        delta = {"delta": f" {number}", "start_s": number / 10, "end_s": number / 10 + 0.1}
        say(connection, type="transcription.delta", seq=number + 2, **delta, **lag)
        say(connection, type="transcription.delta", seq=number + 2, **delta, **lag)
    lost = {"text": "0 1", "lost": {"start_s": 0.5, "end_s": 0.75}}
    say(connection, type="error", error="it is stuck", code="no_such_code", seq=7, **lost)
    connection.recv(timeout=DEADLINE_S)


TOLD = ["the server is behind by 7 s", "the server has caught up"]
STUCK = "the server says: it is stuck (not transcribed: 0.5 to 0.8 s)"


def test_a_file_is_told_of_lag_and_of_what_was_lost(
    start_client: StartClient, numbers_wav: MakeNumbers
) -> None:
    with server(behind) as address:
        program = start_client(FILE_CLIENT, "--audio_path", numbers_wav([1] * 20), "--url", address)
        assert program.wait() == 1
    assert program.out.text == "0 1 2 3 4\n"
    assert program.err.text.splitlines() == [*TOLD, f"{FILE_CLIENT}: {STUCK}"]


@pytest.mark.usefixtures("impatience")
def test_a_speaker_is_told_of_lag_and_of_what_was_lost() -> None:
    async def scenario(address: str) -> tuple[str, list[str]]:
        ring = stream_microphone.Ring(10**7)
        ring.append(spoken([1] * 20))
        options = stream_microphone.parse_options(["--url", address, "--model", "m"])
        paper: Any = Paper()
        talking = asyncio.create_task(stream_microphone.Talk(options, ring, paper).run())
        async with asyncio.timeout(DEADLINE_S):
            while not any(STUCK in remark for remark in paper.remarks):
                paper.told.clear()
                await paper.told.wait()
        talking.cancel()
        await asyncio.wait([talking])
        return paper.text, paper.remarks

    with server(behind) as address:
        text, remarks = asyncio.run(scenario(address))
    assert text == " 0 1 2 3 4"
    assert remarks == [*TOLD, f"{STUCK} (what you say is kept; trying again)"]


def test_bare_vllm_is_asked_for_nothing_that_it_does_not_know(
    start_client: StartClient, numbers_wav: MakeNumbers
) -> None:
    asked = []

    def bare(connection: ServerConnection) -> None:
        greet(connection)
        asked.append(hear(connection, "session.update"))
        asked.append(hear(connection, "input_audio_buffer.append"))

    with server(bare) as address:
        program = start_client(FILE_CLIENT, "--audio_path", numbers_wav([1] * 20), "--url", address)
        assert program.wait() == 1
    update, append = asked
    assert update == {"type": "session.update", "model": "some-model"}
    assert set(append) == {"type", "audio"}
    (line,) = program.err.text.splitlines()
    assert "stopped at 0.0 s of 1.6 s" in line
