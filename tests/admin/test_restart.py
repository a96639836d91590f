"""What clients get of a server that is stopped or restarted."""

import asyncio
import signal
import socket
from random import Random

import numpy as np
import pytest

from lanscribe.admin.orders import RESTART_SIGNAL
from lanscribe.dialects.events import AppendAudio, Cancel, Commit, Done
from lanscribe.engines.fake import spoken
from lanscribe.session.state import Session
from lanscribe.speech.audio import Samples
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.servers import StartServer
from tests.support import Event, client

MODEL = "fake-numbers"
HALF_A_FRAME = 640
MUCH_LESS_THAN_A_DRAIN_S = 45


def speech_and_a_half() -> Samples:
    """Three words, and the half of another, which the engine hears only when it has to end."""
    return np.concatenate([spoken([1, 2, 3]), spoken([4])[:HALF_A_FRAME]])


def end_of(start_server: StartServer, with_signal: signal.Signals, **update: bool) -> list[Event]:
    """What a client hears after the third word, when the server then gets a signal."""
    server = start_server()

    async def converse() -> list[Event]:
        async with client(server.url) as one:
            await one.send(type="session.update", model=MODEL, **update)
            await one.commit()
            await one.append(speech_and_a_half())
            while (await one.receive()).get("delta") != " 3":
                pass
            server.process.send_signal(with_signal)
            events = await one.until("error")
            return [*events, {"type": "close", "code": await one.close_code()}]

    return asyncio.run(converse())


def told(events: list[Event]) -> list[str]:
    """Words and codes."""
    return [
        str(event.get("code") or event.get("delta") or event.get("text") or event["type"])
        for event in events
        if event.get("delta") != ""
    ]


def test_who_can_resume_is_let_go_at_once_by_a_restart(start_server: StartServer) -> None:
    events = end_of(start_server, RESTART_SIGNAL, resume=True)
    assert told(events) == ["server_stopping", "1012"]


def test_who_cannot_gets_the_last_words(start_server: StartServer) -> None:
    events = end_of(start_server, RESTART_SIGNAL)
    assert told(events) == [" 4", "1 2 3 4", "server_stopping", "1012"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_can_resume_is_told_that_last_words_follow(
    start_server: StartServer, number: signal.Signals
) -> None:
    events = end_of(start_server, number, resume=True)
    assert told(events) == ["session.stopping", " 4", "1 2 3 4", "server_stopping", "1001"]


@pytest.mark.parametrize("seed", range(100))
def test_what_a_client_has_ended_is_finished_whatever_ends_the_server(seed: int) -> None:
    rng = Random(seed)
    session = Session(10**9, LevelDetector())
    ended = rng.randint(0, 5)
    for number in range(ended):
        session.receive(AppendAudio(spoken([number + 1])), 0.0)
        session.receive(Commit(is_final=True), 0.0)
    has_open = rng.random() < 0.7
    if has_open:
        session.receive(Commit(is_final=False), 0.0)
        session.receive(AppendAudio(spoken([99])), 0.0)
    is_restart = rng.random() < 0.5
    if is_restart:
        session.receive(Cancel(), 0.0)
    session.stop(is_cut=True)
    done: list[Done] = []
    cut: list[bool] = []
    while not session.is_over:
        if session.is_cancelled:
            assert session.completed() == []
            continue
        cut.append(session.is_cut)
        while session.has_audio:
            session.take_audio()
        session.heard(Token(str(len(done) + 1), 0.08, start_s=0.0))
        done += [event for event in session.completed() if isinstance(event, Done)]
    expected = ended + (has_open and not is_restart)
    assert len(done) == expected, f"seed {seed}"
    assert cut == [False] * ended + [True] * (expected - ended), f"seed {seed}"


def test_a_second_order_to_end_waits_for_nobody(start_server: StartServer) -> None:
    server = start_server("fake", LANSCRIBE_LIMITS_STOP_TIMEOUT_S="60")
    kind = "Content-Type: multipart/form-data; boundary=b"
    with socket.create_connection((server.host, server.port)) as upload:
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n{kind}"
        upload.sendall(f"{head}\r\nContent-Length: 1000\r\n\r\n--b\r\n".encode())
        asyncio.run(one_word(server.url))  # by now the upload is taken in
        server.process.send_signal(signal.SIGTERM)
        while is_listening(server.host, server.port):
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(MUCH_LESS_THAN_A_DRAIN_S) == 0


async def one_word(url: str) -> None:
    async with client(url, MODEL) as one:
        assert (await one.transcribe(spoken([1])))["text"] == "1"


def is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True
