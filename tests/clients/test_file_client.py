"""test_file_transcribe.py as people and scripts run it, against good servers and bad ones."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webvtt
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection

import test_file_transcribe as client
from lanscribe import PROJECT_DIR
from tests.clients.conftest import StartClient
from tests.clients.listening import heard
from tests.clients.peers import greet, hear, say, server
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S

SCRIPT = "test_file_transcribe.py"
BECKETT = "ever tried ever failed no matter try again fail again fail better"
MakeNumbers = Callable[..., Path]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the client in pipes, to its end."""
    return subprocess.run(
        [sys.executable, str(PROJECT_DIR / SCRIPT), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def failure(*arguments: str | Path, **environment: str) -> str:
    """Run the client, which must fail with one line; that line."""
    ended = run(*arguments, **environment)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{SCRIPT}: ")
    return line


def counted(last: int) -> str:
    """What the fake engine makes of the numbers up to `last`."""
    return " ".join(map(str, range(1, last + 1)))


# What it is for.


def test_speech_in_a_pipe_is_exactly_the_transcript(embedded_server: Server, speech: Path) -> None:
    ended = run("--audio_path", speech, "--url", embedded_server.url)
    assert client.normalised(ended.stdout) == BECKETT
    assert ended.stdout.endswith(".\n")
    assert ended.stdout.count("\n") == 1
    assert ended.stderr.startswith("10.0 s of audio in ")
    assert ended.returncode == 0


def test_speech_in_a_terminal_shows_text_and_progress(
    start_client: StartClient, embedded_server: Server, speech: Path
) -> None:
    arguments = ("--audio-path", speech, "--url", embedded_server.url)
    program = start_client(SCRIPT, *arguments, in_terminal=True)
    assert program.wait() == 0
    assert " / 0:00:10  lag " in program.out.text
    *_, text, figures = program.out.text.splitlines()
    assert client.normalised(text) == BECKETT
    assert "s of audio in" in figures


def test_json_is_one_object_with_every_figure(
    embedded_server: Server, speech: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.txt"
    reference.write_text(BECKETT.replace("better", "worse!").upper())
    arguments = ("--audio_path", speech, "--url", embedded_server.url, "--reference", reference)
    ended = run(*arguments, "--json")
    figures = json.loads(ended.stdout)
    assert client.normalised(figures["text"]) == BECKETT
    assert figures["wer"] == pytest.approx(1 / 12)
    assert figures["audio_s"] == pytest.approx(10, abs=0.1)
    assert figures["rtf"] == pytest.approx(figures["wall_s"] / figures["audio_s"])
    assert 0 < figures["time_to_first_delta_s"] <= figures["wall_s"]
    assert 0 <= figures["lag_p50_s"] <= figures["lag_p95_s"] <= 10
    assert figures["model"] == "moonshine-base-en"
    assert figures["url"] == embedded_server.url
    assert figures["error"] is None
    assert ended.stderr == ""


def timed(connection: ServerConnection, *, has_times: bool) -> None:
    """Say two sentences as this server does, or as bare vLLM does, when 1.6 s are there."""
    greet(connection)
    while not hear(connection, "input_audio_buffer.commit")["final"]:
        pass
    deltas = {2: "Good", 3: " morn", 4: "ing.", 10: " Well"}
    for step in range(20):
        text, end_s = deltas.get(step, ""), (step + 1) * 0.08
        times = {"end_s": end_s, "start_s": end_s - 0.08} if has_times else {}
        say(connection, type="transcription.delta", delta=text, **times)
    times = {"duration_s": 1.6} if has_times else {}
    say(connection, type="transcription.done", text="Good morning. Well then", **times)
    connection.recv(timeout=DEADLINE_S)


GOOD_MORNING = {
    "srt": "1\n00:00:00,160 --> 00:00:00,800\nGood morning.\n\n"
    "2\n00:00:00,800 --> 00:00:01,800\nWell then\n\n",
    "vtt": "WEBVTT\n\n00:00:00.160 --> 00:00:00.800\nGood morning.\n\n"
    "00:00:00.800 --> 00:00:01.800\nWell then\n\n",
}


@pytest.mark.parametrize("has_times", [True, False])
@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_captions_come_at_the_end(numbers_wav: MakeNumbers, kind: str, has_times: bool) -> None:
    with server(partial(timed, has_times=has_times)) as address:
        ended = run("--audio_path", numbers_wav([1] * 20), "--url", address, "--format", kind)
    assert ended.returncode == 0
    assert ended.stdout == GOOD_MORNING[kind]


def test_json_format_has_words_and_segments(numbers_wav: MakeNumbers) -> None:
    with server(partial(timed, has_times=True)) as address:
        ended = run("--audio_path", numbers_wav([1] * 20), "--url", address, "--format", "json")
    assert json.loads(ended.stdout) == {
        "text": "Good morning. Well then",
        "duration": 1.6,
        "words": [
            {"word": "Good", "start": 0.16, "end": 0.24},
            {"word": "morning.", "start": 0.24, "end": 0.4},
            {"word": "Well", "start": 0.8, "end": 0.88},
            {"word": "then", "start": 0.88, "end": 1.6},
        ],
        "segments": [
            {"id": 0, "start": 0.16, "end": 0.4, "text": "Good morning."},
            {"id": 1, "start": 0.8, "end": 1.6, "text": "Well then"},
        ],
    }


def test_captions_of_real_speech_are_where_it_is(embedded_server: Server, speech: Path) -> None:
    ended = run("--audio_path", speech, "--url", embedded_server.url, "--format", "srt")
    captions = webvtt.from_buffer(io.StringIO(ended.stdout), format="srt")
    assert client.normalised(" ".join(one.text for one in captions.captions)) == BECKETT
    starts_s = [float(one.start.rpartition(":")[2]) for one in captions.captions]
    assert starts_s == pytest.approx([0, 2, 3, 5, 6, 8], abs=1)


def test_what_was_said_before_a_failure_is_kept_in_every_format(numbers_wav: MakeNumbers) -> None:
    def handler(connection: ServerConnection) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        say(connection, type="transcription.delta", delta="One", start_s=0.0, end_s=0.08)
        say(connection, type="error", error="broken", code="processing_error")
        connection.recv(timeout=DEADLINE_S)

    with server(handler) as address:
        ended = run("--audio_path", numbers_wav([1] * 20), "--url", address, "--format", "vtt")
    assert ended.returncode == 1
    assert ended.stdout == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nOne\n\n"


def test_figures_and_a_format_are_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        client.parse_options(["--audio_path", "a.wav", "--json", "--format", "srt"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("name", "subtype", "rate_hz", "channels"),
    [
        ("a.wav", "PCM_U8", 8_000, 1),
        ("a.wav", "FLOAT", 48_000, 2),
        ("a.flac", "PCM_24", 44_100, 6),
        ("a.ogg", "VORBIS", 22_050, 1),
        ("a.ogg", "OPUS", 48_000, 2),
        ("a.mp3", "MPEG_LAYER_III", 44_100, 2),
        ("a.aiff", "PCM_16", 11_025, 1),
    ],
)
def test_any_format_rate_and_channel_count(
    tmp_path: Path, name: str, subtype: str, rate_hz: int, channels: int
) -> None:
    """A tone on the first channel comes out at its pitch, its length and its loudness."""
    time_s = np.arange(2 * rate_hz) / rate_hz
    sound = np.zeros((len(time_s), channels))
    sound[:, 0] = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(tmp_path / name, sound, rate_hz, subtype=subtype)
    said = heard(tmp_path / name)
    assert len(said) == pytest.approx(32_000, abs=1_600)
    pitch = np.abs(np.fft.rfft(said[4_000:28_000])).argmax() * 16_000 / 24_000
    assert pitch == pytest.approx(440, abs=1)
    loudness = np.std(said[4_000:28_000] / 32_768) * np.sqrt(2)
    assert loudness == pytest.approx(0.5, rel=0.15)  # MP3 takes liberties


def test_a_long_file_comes_through_whole_and_in_order(
    fake_server: Server, numbers_wav: MakeNumbers
) -> None:
    path = numbers_wav(list(range(1, 15_001)))  # 20 minutes, more than a server takes at once
    assert run("--audio_path", path, "--url", fake_server.url).stdout == f"{counted(15_000)}\n"


def test_realtime_is_no_faster_than_speech(fake_server: Server, numbers_wav: MakeNumbers) -> None:
    path = numbers_wav(list(range(1, 21)))
    ended = run("--audio_path", path, "--url", fake_server.url, "--realtime", "--json")
    figures = json.loads(ended.stdout)
    assert figures["text"] == counted(20)
    assert figures["wall_s"] >= 1.6


def test_a_url_and_a_key_may_come_from_the_environment(
    numbers_wav: MakeNumbers, fake_server: Server
) -> None:
    environment = {"LANSCRIBE_URL": f"localhost:{fake_server.port}", "LANSCRIBE_API_KEY": "key"}
    assert run("--audio_path", numbers_wav([7]), **environment).stdout == "7\n"


def test_silence_is_an_empty_line(numbers_wav: MakeNumbers, fake_server: Server) -> None:
    ended = run("--audio_path", numbers_wav([0] * 9), "--url", fake_server.url)
    assert (ended.returncode, ended.stdout) == (0, "\n")


# Ctrl-C.


@pytest.mark.parametrize("in_terminal", [False, True])
def test_ctrl_c_ends_the_audio_and_waits_for_the_last_words(
    start_client: StartClient, fake_server: Server, numbers_wav: MakeNumbers, in_terminal: bool
) -> None:
    arguments = ("--audio_path", numbers_wav(list(range(1, 1_000))), "--realtime")
    program = start_client(SCRIPT, *arguments, "--url", fake_server.url, in_terminal=in_terminal)
    program.out.wait_for("1 2 3 4 5 6 7 8")
    program.interrupt()
    assert program.wait() == 0
    last_line = program.out.text.splitlines()[-2 if in_terminal else -1]
    assert last_line == counted(len(last_line.split()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_as_good(
    start_client: StartClient, fake_server: Server, numbers_wav: MakeNumbers, number: signal.Signals
) -> None:
    arguments = ("--audio_path", numbers_wav(list(range(1, 1_000))), "--realtime")
    program = start_client(SCRIPT, *arguments, "--url", fake_server.url)
    program.out.wait_for("1 2 3")
    program.interrupt(number)
    assert program.wait() == 0


@pytest.mark.parametrize("script", [SCRIPT, "stream_microphone.py"])
def test_ctrl_c_while_it_is_loaded_leaves_no_traceback(
    start_client: StartClient, script: str
) -> None:
    program = start_client(script, "--help", PYTHONPROFILEIMPORTTIME="1")
    program.err.wait_for("numpy")
    program.interrupt()
    assert program.wait() == -signal.SIGINT
    assert "Traceback" not in program.err.text


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_before_the_first_word_is_130(
    start_client: StartClient, numbers_wav: MakeNumbers, signals: int
) -> None:
    def done_only(connection: ServerConnection) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        program.interrupt()
        while not hear(connection, "input_audio_buffer.commit")["final"]:
            pass
        if signals == 1:
            say(connection, type="transcription.done", text="", duration_s=9)
        else:
            program.interrupt()
        connection.recv(timeout=DEADLINE_S)

    with server(done_only) as address:
        arguments = ("--audio_path", numbers_wav([1] * 1_000), "--realtime", "--url", address)
        program = start_client(SCRIPT, *arguments)
        assert program.wait() == 130


# Files that are none.


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "a.wav").write_text("hello")
    (tmp_path / "a.raw").write_text("hello")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    for name, line in {
        "nothing.wav": "cannot read {}: No such file or directory",
        "": "cannot read {}: Is a directory",
        "empty.wav": "{}: ",
        "none.wav": "{}: ",
        "a.wav": "{}: ",
        "a.raw": "{}: ",
    }.items():
        path = tmp_path / name
        told = failure("--audio_path", path)
        assert line.format(path) in told
        assert "ffmpeg -i" not in told


def test_a_reference_without_words(tmp_path: Path, speech: Path) -> None:
    (tmp_path / "reference.txt").write_text("?!")
    for name in ("reference.txt", "nothing.txt"):
        arguments = ("--audio_path", speech, "--reference", tmp_path / name)
        assert "the reference" in failure(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--audio_path", "a.wav", "--url", "ftp://box"),
        ("--audio_path", "a.wav", "--url", "ws://"),
    ],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


# Servers that are none.


def refused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_nobody_there(speech: Path) -> None:
    line = failure("--audio_path", speech, "--url", f"127.0.0.1:{refused_port()}")
    assert "Connection refused: is serve.sh running" in line.replace("]", "")


def test_no_such_name(speech: Path) -> None:
    line = failure("--audio_path", speech, "--url", "ws://no-such-box.invalid:8000")
    assert "no-such-box.invalid:8000" in line


def test_a_page_instead_of_a_server(speech: Path) -> None:
    with server(greet, models=["not", "models"]) as address:
        assert "it names no model" in failure("--audio_path", speech, "--url", address)


def test_not_a_websocket_server(speech: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        command = ("--audio_path", speech, "--url", address, "--model", "m")
        program = subprocess.Popen(
            [sys.executable, PROJECT_DIR / SCRIPT, *command], stderr=subprocess.PIPE, text=True
        )
        connection, _ = listener.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.close()
        _, line = program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 1
    assert "did not receive a valid HTTP response" in line


def test_a_model_that_the_server_does_not_have(fake_server: Server, speech: Path) -> None:
    line = failure("--audio_path", speech, "--url", fake_server.url, "--model", "other")
    assert "the server says: got the model 'other'; this server has: fake-numbers" in line


def test_a_busy_server(serve_here: ServeHere, speech: Path) -> None:
    running = serve_here(engine={"sessions": 1})
    with connect(running.url) as other:
        other.recv(timeout=DEADLINE_S)
        line = failure("--audio_path", speech, "--url", running.url)
    assert "the server says: " in line


@pytest.mark.parametrize(("end", "why"), [("kill", "without a word"), ("stop", "ended")])
def test_a_server_that_goes_half_way(
    start_client: StartClient,
    start_server: StartServer,
    numbers_wav: MakeNumbers,
    end: str,
    why: str,
) -> None:
    running = start_server("fake", LANSCRIBE_RESUME_KEEP_S="0.5")
    arguments = ("--audio_path", numbers_wav(list(range(1, 1_000))), "--realtime")
    program = start_client(SCRIPT, *arguments, "--url", running.url)
    program.out.wait_for("1 2 3 4 5 6")
    getattr(running, end)()
    assert program.wait() == 1
    text = program.out.text
    assert text == f"{counted(len(text.split()))}\n"
    told, line = program.err.text.splitlines()
    assert re.search(rf"{why}.* of 79\.9 s|at .* of 79\.9 s.*{why}", told)
    assert told.endswith(" (trying again)")
    assert re.search(r"stopped at .* of 79\.9 s: 127\.0\.0\.1:\d+: .*serve\.sh", line)


def fail_with(message: str) -> Callable[[ServerConnection], None]:
    """A server that says three words, then sends `message`."""

    def handler(connection: ServerConnection) -> None:
        greet(connection)
        for end_s, text in ((0.1, "one"), (0.2, " two"), (0.3, " three")):
            hear(connection, "input_audio_buffer.append")
            say(connection, type="transcription.delta", delta=text, end_s=end_s)
        hear(connection, "input_audio_buffer.append")
        if message:
            connection.send(message)
        else:
            connection.close(1013, "server_busy")
        connection.recv(timeout=DEADLINE_S)

    return handler


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "stopped at 0.3 s of 10.0 s: {}: it hung up, 1013"),
        ("[[[", "the server broke the protocol: '[[['"),
        ("[" * 100_000, "the server broke the protocol"),
        ("[]", "the server broke the protocol: '[]'"),
        ('{"type":"transcription.delta","delta":5}', "the server broke the protocol"),
        ('{"type":"error","error":"all full","code":"server_busy"}', "the server says: all full"),
        ('{"type":"transcription.done","text":"one two three"}', "ended the transcript early"),
        ('{"type":"transcription.done","text":"one","duration_s":0.3}', "early, at 0.3 s"),
    ],
)
def test_a_server_that_fails_half_way(speech: Path, message: str, line: str) -> None:
    with server(fail_with(message)) as address:
        ended = run("--audio_path", speech, "--url", address, "--realtime")
        assert line.format(address) in ended.stderr
    assert ended.returncode == 1
    assert ended.stdout == "one two three\n"
    assert len(ended.stderr.splitlines()) == 1


def test_json_tells_what_came_before_the_failure(speech: Path) -> None:
    with server(fail_with("[[[")) as address:
        ended = run("--audio_path", speech, "--url", address, "--realtime", "--json")
    figures = json.loads(ended.stdout)
    assert figures["text"] == "one two three"
    assert "broke the protocol" in figures["error"]
    assert ended.returncode == 1


class SilentServer:
    """A connection on which nothing comes, as of a machine that was switched off."""

    def __init__(self, *, answers_pings: bool) -> None:
        self._answers_pings = answers_pings
        self.pings = 0

    async def recv(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def ping(self) -> asyncio.Future[float]:
        pong = asyncio.get_running_loop().create_future()
        self.pings += 1
        if self._answers_pings:
            pong.set_result(0)
        return pong


@pytest.mark.parametrize(("answers_pings", "pings"), [(False, 1), (True, client.MAX_SILENCES)])
def test_a_server_that_falls_silent(
    monkeypatch: pytest.MonkeyPatch, answers_pings: bool, pings: int
) -> None:
    monkeypatch.setattr(client, "SILENCE_S", 0.01)
    silent: Any = SilentServer(answers_pings=answers_pings)
    with pytest.raises(TimeoutError) as caught:
        asyncio.run(client.next_message(silent))
    assert silent.pings == pings
    line = str(client.explain(caught.value, client.Server("ws://box:8000/v1/realtime")))
    assert line.startswith("box:8000: it does not answer: ")


def test_what_the_server_writes_cannot_steer_the_terminal(
    start_client: StartClient, speech: Path
) -> None:
    def handler(connection: ServerConnection) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        evil = "\x1b]0;owned\x07[bold]a\x9b2J\u202eb\ud800\r\n"
        say(connection, type="transcription.delta", delta=evil, end_s=0.1)
        say(connection, type="error", error="\x1b[2J[red]c", code="\x1b")
        connection.recv(timeout=DEADLINE_S)

    with server(handler) as address:
        arguments = ("--audio_path", speech, "--url", address)
        piped = run(*arguments)
        program = start_client(SCRIPT, *arguments, in_terminal=True)
        assert program.wait() == 1
    assert piped.stdout == "]0;owned[bold]a2Jb\n"
    assert piped.stderr == f"{SCRIPT}: the server says: [2J[red]c\n"
    assert "]0;owned[bold]a2Jb" in program.out.text
    assert not set("\x07\x9b\u202e") & set(program.out.raw)
    assert "\x1b]0" not in program.out.raw


def test_a_reader_that_leaves(fake_server: Server, numbers_wav: MakeNumbers) -> None:
    path = numbers_wav(list(range(1, 1_000)))
    command = [sys.executable, SCRIPT, "--audio_path", str(path), "--url", fake_server.url]
    program = subprocess.Popen(
        command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    line = program.stderr.read().decode()
    assert program.wait(DEADLINE_S) == 1
    assert line == f"{SCRIPT}: cannot write the transcript: Broken pipe\n"
    program.stderr.close()


# The small parts.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("box", "ws://box:8000/v1/realtime"),
        ("box:9", "ws://box:9/v1/realtime"),
        ("ws://box:9/", "ws://box:9/v1/realtime"),
        ("ws://box:9/v1/realtime", "ws://box:9/v1/realtime"),
        ("http://box:9/v1", "ws://box:9/v1/realtime"),
        ("https://box", "wss://box:8443/v1/realtime"),
        ("WSS://box/speech?api_key=k", "wss://box:8443/speech/v1/realtime?api_key=k"),
        ("[::1]", "ws://[::1]:8000/v1/realtime"),
        ("192.0.2.7:8000", "ws://192.0.2.7:8000/v1/realtime"),
    ],
)
def test_every_way_to_write_an_address(text: str, url: str) -> None:
    assert client.realtime_url(text) == url


@pytest.mark.parametrize("text", ["", "ws://", "ftp://box", "box:99999", "box:x", ":8000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        client.realtime_url(text)


@pytest.mark.parametrize("end_s", [None, "1", -1, float("nan"), float("inf"), 1e9, [], 10**400])
def test_a_time_that_is_none_counts_as_absent(end_s: Any) -> None:
    message = json.dumps({"type": "transcription.delta", "delta": "a", "end_s": end_s})
    event = client.Event(message)
    assert (event.kind, event.text) == ("transcription.delta", "a")
    assert event.seconds("end_s") is None
    assert event.seconds("start_s") is None


def event(kind: str, **fields: Any) -> client.Event:
    """A message of a server."""
    return client.Event(json.dumps({"type": f"transcription.{kind}", **fields}))


def tally_of(sent_s: float) -> client.Tally:
    """A tally after so much audio."""
    tally = client.Tally()
    tally.story.sent = round(sent_s * client.SAMPLE_RATE_HZ)
    return tally


def test_a_server_without_times_listens_80_ms_a_delta() -> None:
    tally = tally_of(1.0)
    for text in ("", "a", "", " b"):
        tally.take(event("delta", delta=text))
    assert tally.text == "a b"
    assert tally.words == [("a", 0.08, 0.16), (" b", pytest.approx(0.24), 0.32)]
    assert tally.heard_s == pytest.approx(0.32)
    assert tally.lags_s == pytest.approx([0.92, 0.84, 0.76, 0.68])


def test_lag_is_what_was_sent_beyond_the_words_end() -> None:
    tally = tally_of(3.0)
    tally.take(event("delta", delta="", end_s=2.0))
    tally.take(event("delta", delta="a", start_s=1.0, end_s=1.5))
    assert tally.lags_s == [1.0, 1.5]
    assert tally.heard_s == 2.0


@pytest.mark.parametrize(("whole", "rest"), [("one two", " two"), ("something else", "")])
def test_a_done_with_more_than_the_deltas_completes_them(whole: str, rest: str) -> None:
    tally = tally_of(3.0)
    tally.story.is_committed = True
    tally.take(event("delta", delta=" one", end_s=1.0))
    assert tally.take(event("done", text=whole, duration_s=3.0)) == rest
    assert tally.text == f"one{rest}"


def test_normalised() -> None:
    assert client.normalised("Don't, well-known  ÉTÉ!\n") == "dont well known été"
