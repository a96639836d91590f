"""What the clients say beside the text: what was not heard, and why nothing was."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection

import stream_microphone
from clients.protocol import Event
from clients.terminal import Trouble
from tests.clients.conftest import MakeNumbers, StartClient
from tests.clients.peers import greet, hear, say, server
from tests.clients.test_microphone_parts import Paper
from tests.servers import Server
from tests.support import DEADLINE_S

FILE_CLIENT = "test_file_transcribe.py"
ZEROS = "no speech was heard: each sample is zero: was the microphone muted, or without permission?"
QUIET = "no speech was heard: it is never louder than -52 dBFS, and speech is -40 to -15"
CAUSES = [
    ({"code": "zeros"}, ZEROS),
    ({"code": "quiet", "level_dbfs": -52.3}, QUIET),
    ({"code": "quiet", "level_dbfs": "\x1b[2J"}, QUIET.replace("-52", "-99")),
    ({"code": "no_speech", "level_dbfs": -20.0}, "no speech was heard"),
]
Handler = Callable[[ServerConnection], None]


def tells(*events: dict[str, Any]) -> Handler:
    """A server that says these when all audio is there."""

    def converse(connection: ServerConnection) -> None:
        greet(connection)
        while not hear(connection, "input_audio_buffer.commit").get("final"):
            pass
        for event in events:
            say(connection, **event)
        connection.recv(timeout=DEADLINE_S)

    return converse


def done(text: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "transcription.done", "text": text, "duration_s": 1.6, **more}


def delta(text: str, end_s: float, **more: Any) -> dict[str, Any]:
    return {"type": "transcription.delta", "delta": text, "end_s": end_s, "lag_s": 0.0, **more}


def remarks_of(handler: Handler, *, is_muted: bool = False) -> list[str]:
    """What the microphone client remarks while it talks to that server."""

    async def scenario(address: str) -> list[str]:
        ring = stream_microphone.Ring(10**6)
        ring.append(np.full(25_600, 0.1, dtype=np.float32))
        ring.is_closed = True
        options = stream_microphone.parse_options(["--url", address, "--model", "m"])
        paper: Any = Paper()
        talk = stream_microphone.Talk(options, ring, paper)
        if is_muted:
            talk.meter.feed(np.zeros(16_000 * 6, dtype=np.float32))
        async with asyncio.timeout(DEADLINE_S):
            await talk.run()
        remarks: list[str] = paper.remarks
        return remarks

    with server(handler) as address:
        return asyncio.run(scenario(address))


def test_a_file_of_digital_silence_is_no_success_without_a_word(
    fake_server: Server, start_client: StartClient, numbers_wav: MakeNumbers
) -> None:
    audio = "--audio_path", numbers_wav([0] * 20)
    program = start_client(FILE_CLIENT, *audio, "--url", fake_server.url)
    assert program.wait() == 0
    assert program.out.text == "\n"
    assert ZEROS in program.err.text.splitlines()
    program = start_client(FILE_CLIENT, *audio, "--url", fake_server.url, "--json")
    assert program.wait() == 0
    assert json.loads(program.out.text)["no_speech"] == "zeros"


def test_a_file_too_short_for_a_word_is_told(
    fake_server: Server, start_client: StartClient, numbers_wav: MakeNumbers
) -> None:
    path = numbers_wav([0])
    program = start_client(FILE_CLIENT, "--audio_path", path, "--url", fake_server.url)
    assert (program.wait(), program.out.text) == (0, "\n")
    assert program.err.text.splitlines()[0] == "no speech was heard: only 0.08 s of sound came"


@pytest.mark.parametrize(("flags", "has_lag"), [((), False), (("--realtime",), True)])
def test_the_lag_is_told_where_sound_is_sent_at_its_speed(
    fake_server: Server,
    start_client: StartClient,
    numbers_wav: MakeNumbers,
    flags: tuple[str, ...],
    has_lag: bool,
) -> None:
    audio = "--audio_path", numbers_wav([1, 2, 3])
    program = start_client(FILE_CLIENT, *audio, "--url", fake_server.url, *flags)
    assert program.wait() == 0
    (line,) = program.err.text.splitlines()
    assert ("lag" in line, "first words after" in line) == (has_lag, True)


@pytest.mark.parametrize(("cause", "line"), CAUSES)
def test_the_cause_is_said(cause: dict[str, Any], line: str) -> None:
    assert remarks_of(tells(done(no_speech=cause))) == [line]


def test_what_was_lost_is_said_in_a_line_where_it_was(
    start_client: StartClient, numbers_wav: MakeNumbers
) -> None:
    lost = [{"start_s": 0.5, "end_s": 1.25}]
    handler = tells(
        delta("one", 0.4, start_s=0.1), delta("", 1.25, lost=lost), done("one", lost=lost)
    )
    line = "0.5 to 1.2 s could not be transcribed"
    assert remarks_of(handler) == [line]
    with server(handler) as address:
        path = numbers_wav([1] * 20)
        program = start_client(FILE_CLIENT, "--audio_path", path, "--url", address)
        assert program.wait() == 0
        assert program.err.text.splitlines()[0] == line
        program = start_client(FILE_CLIENT, "--audio_path", path, "--url", address, "--json")
        assert program.wait() == 0
    figures = json.loads(program.out.text)
    assert (figures["text"], figures["lost_s"]) == ("one", [[0.5, 1.25]])


@pytest.mark.parametrize(
    ("text", "more"), [("one", {}), ("", {}), ("one", {"no_speech": {"code": "zeros"}})]
)
def test_where_there_is_nothing_to_say_nothing_is_said(text: str, more: dict[str, Any]) -> None:
    assert remarks_of(tells(delta(text, 1.6), done(text, **more))) == []


def test_bare_vllm_tells_no_cause() -> None:
    nothing = {"type": "transcription.done", "text": "", "usage": {}}
    silent = [{"type": "transcription.delta", "delta": ""}] * 20
    assert remarks_of(tells(*silent, nothing)) == ["no speech was heard"]


def test_a_muted_microphone_is_told_once() -> None:
    """By the client itself where it has noticed, else by the server."""
    handler = tells(delta("", 1.0, notice="zeros"), delta("a", 1.6), done("a"))
    assert remarks_of(handler) == [stream_microphone.MUTED]
    assert remarks_of(handler, is_muted=True) == []


@pytest.mark.parametrize("lost", [7, "x", [1], [{}], {"start_s": None, "end_s": 1}, [["a", "b"]]])
def test_what_is_no_part_of_the_protocol_is_one_line_of_trouble(lost: Any) -> None:
    with pytest.raises(Trouble, match="the server broke the protocol"):
        Event(json.dumps(delta("", 1.0, lost=lost)))
