"""Wyoming's own client and bench against real servers, and everything a network may do to one."""

import asyncio
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import soxr  # type: ignore[import-untyped]
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from lanscribe import PROJECT_DIR
from lanscribe.engines.base import Engine
from lanscribe.engines.fake import FakeEngine, FakeSession, spoken
from lanscribe.errors import AuthError, EngineFailed
from lanscribe.server.gateway import Gateway
from lanscribe.server.wyoming import check_peer, serving
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.protocols.record import Ran
from tests.protocols.wyoming_driver import FORMAT, WyomingDriver, WyomingSpeaker, event
from tests.servers import ServeHere, Server, SettingsHere, StartServer
from tests.support import DEADLINE_S, Refused, counting, words

SPEECH = PROJECT_DIR / "models/samples/beckett.wav"
SAID = "ever tried ever failed no matter try again fail again fail better"
WER_BOUND = 0.1


def client_of(server: Server) -> AsyncTcpClient:
    return AsyncTcpClient(server.host, server.wyoming_port, read_timeout=DEADLINE_S)


async def transcript(client: AsyncTcpClient, audio: list[AudioChunk]) -> list[Event]:
    """One utterance of a real client, everything read only after the last chunk."""
    form = audio[0]
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(form.rate, form.width, form.channels).event())
    for chunk in audio:
        await client.write_event(chunk.event())
    await client.write_event(AudioStop().event())
    return await until(client, "transcript-stop")


async def until(client: AsyncTcpClient, kind: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1].type != kind:
        answer = await client.read_event()
        assert answer is not None, events
        events.append(answer)
    return events


def pcm16(samples: Samples) -> list[AudioChunk]:
    audio = samples_to_pcm16(samples)
    return [
        AudioChunk(16_000, 2, 1, audio[start : start + 2048])
        for start in range(0, len(audio), 2048)
    ]


def text_of(events: list[Event]) -> str:
    """The transcript, which its chunks have to be."""
    assert [event.type for event in events if event.type != "transcript-chunk"] == [
        "transcript-start",
        "transcript",
        "transcript-stop",
    ]
    chunks = [event.data["text"] for event in events if event.type == "transcript-chunk"]
    text = events[-2].data["text"]
    assert "".join(chunks) == text
    return str(text)


def test_utterances_of_one_connection(fake_server: Server) -> None:
    async def converse() -> None:
        async with client_of(fake_server) as client:
            for first in (1, 201, 401):
                events = await transcript(client, pcm16(spoken(range(first, first + 99))))
                assert text_of(events) == counting(range(first, first + 99))
                assert len(events) == 99 + 3
                assert events[-2].data["language"] == "en"

    asyncio.run(converse())


def test_utterances_sent_ahead_and_an_empty_one(fake_server: Server) -> None:
    async def converse() -> None:
        async with client_of(fake_server) as client:
            for numbers in ([1, 2], [], [3, 4]):
                await client.write_event(AudioStart(16_000, 2, 1).event())
                for chunk in pcm16(spoken(numbers)):
                    await client.write_event(chunk.event())
                await client.write_event(AudioStop().event())
            texts = [text_of(await until(client, "transcript-stop")) for _ in range(3)]
        assert texts == ["1 2", "", "3 4"]

    asyncio.run(converse())


def test_text_comes_while_one_speaks(fake_server: Server) -> None:
    async def converse() -> None:
        async with client_of(fake_server) as client:
            await client.write_event(Transcribe().event())
            await client.write_event(pcm16(spoken([7]))[0].event())
            await client.write_event(pcm16(spoken([8]))[0].event())
            assert (await until(client, "transcript-chunk"))[-1].data == {"text": "7"}

    asyncio.run(converse())


def test_questions_at_any_time(fake_server: Server) -> None:
    async def converse() -> None:
        async with client_of(fake_server) as client:
            for _ in range(2):
                await client.write_event(Describe().event())
                await client.write_event(Ping("here?").event())
                info = Info.from_event((await until(client, "info"))[-1])
                assert info.asr[0].models[0].name == "fake-numbers"
                assert Pong.from_event((await until(client, "pong"))[-1]).text == "here?"
                assert text_of(await transcript(client, pcm16(spoken([5])))) == "5"

    asyncio.run(converse())


def test_a_model_that_is_not_served(fake_server: Server) -> None:
    async def converse() -> None:
        async with client_of(fake_server) as client:
            await client.write_event(Transcribe(name="whisper").event())
            (error,) = await until(client, "error")
            assert error.data["code"] == "model_not_found"
            assert await client.read_event() is None

    asyncio.run(converse())


@pytest.mark.parametrize(("rate", "width", "channels"), [(16_000, 2, 1), (48_000, 3, 2)])
def test_speech(embedded_server: Server, rate: int, width: int, channels: int, ran: Ran) -> None:
    samples, _ = soundfile.read(SPEECH, dtype="float32")
    at_rate = soxr.resample(samples, 16_000, rate)
    full = np.rint(at_rate * 0.99 * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)
    audio = np.repeat(full[:, np.newaxis, 4 - width :], channels, axis=1).tobytes()
    size = 1024 * width * channels
    chunks = [
        AudioChunk(rate, width, channels, audio[start : start + size])
        for start in range(0, len(audio), size)
    ]

    async def converse() -> str:
        async with client_of(embedded_server) as client:
            return text_of(await transcript(client, chunks))

    assert jiwer.wer(SAID, " ".join(words(asyncio.run(converse())))) <= WER_BOUND
    ran("Wyoming", "port 10300", "wyoming", "speech at 16 and 48 kHz")


def test_wyomings_own_bench(embedded_server: Server, tmp_path: Path, ran: Ran) -> None:
    (tmp_path / "beckett.wav").symlink_to(SPEECH)
    (tmp_path / "beckett.txt").write_text(SAID)
    address = f"{embedded_server.host}:{embedded_server.wyoming_port}"
    assert "model moonshine-base-en [en]" in bench("info", address)
    once = ("--rounds", "1", "--warmup", "0")
    report = bench("stt", "--corpus", str(tmp_path), "--mode", "both", *once, address)
    assert "lanscribe - non-streaming, streaming" in report
    assert report.count("ok=1 fail=0") == 2
    rates = [float(rate) / 100 for rate in re.findall(r"Accuracy +WER=([\d.]+)%", report)]
    assert len(rates) == 2
    assert max(rates) <= WER_BOUND
    ran("Wyoming", "port 10300", "wyoming-bench", "its measurements, streaming and not")


def bench(*arguments: str) -> str:
    program = "import sys; from wyoming_bench.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    return done.stdout


def test_as_many_sessions_as_there_are_and_questions_beyond(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1})

    async def converse() -> None:
        driver = WyomingDriver()
        async with driver.connected(server) as one:
            await one.say(spoken([1]))
            with pytest.raises(Refused) as caught:
                async with driver.connected(server):
                    pass
            assert caught.value.args == ("server_busy", 1013)
            async with client_of(server) as client:
                await client.write_event(Describe().event())
                await until(client, "info")
            assert await one.end() == (["1"], "1")
        async with driver.connected(server) as next_one:  # the slot of one that vanished is free
            await next_one.say(spoken([2]))
            assert await next_one.end() == (["2"], "2")

    asyncio.run(converse())


def test_the_last_words_when_the_server_is_stopped(start_server: StartServer) -> None:
    server = start_server("fake")

    async def converse() -> None:
        driver = WyomingDriver()
        async with client_of(server) as idle, driver.connected(server) as speaker:
            await speaker.say(spoken([1, 2, 3]))
            while (answer := await speaker.read())[1].get("text") != " 3":
                pass
            stopping = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGTERM))
            assert (await speaker.read())[1] == {"text": "1 2 3", "language": "en"}
            assert (await speaker.read())[0] == "transcript-stop"
            answer = await speaker.read()
            assert (answer[0], answer[1]["code"]) == ("error", "server_stopping")
            with pytest.raises(EOFError):
                await speaker.read()
            assert await idle.read_event() is None
            assert await stopping == 0

    asyncio.run(converse())
    assert "Traceback" not in server.log


def test_a_port_that_is_taken_is_one_warning(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server("fake", LANSCRIBE_WYOMING_PORT=str(port))
        assert server.wyoming_port == 0
        assert any("wyoming    none: its port is taken" in line for line in server.banner)
        (line,) = [line for line in server.log.splitlines() if "WARNING" in line]
        assert f"port {port} of 127.0.0.1: Address already in use" in line
        assert "wyoming.port in config/local.toml" in line


def test_it_can_be_left_out(serve_here: ServeHere) -> None:
    server = serve_here(wyoming={"enabled": False})
    assert server.wyoming_port == 0
    assert "WARNING" not in server.log


@pytest.mark.parametrize(
    ("peer", "mode"),
    [
        ("127.0.0.1", "lan"),
        ("192.168.1.7", "lan"),
        ("fe80::1%eth0", "lan"),
        ("8.8.8.8", "open"),
        ("127.0.0.1", "key"),
        ("::1", "key"),
        ("::ffff:127.0.0.1", "key"),
    ],
)
def test_who_may_come_in(peer: str, mode: str) -> None:
    check_peer(peer, mode)


@pytest.mark.parametrize(
    ("peer", "mode"), [("8.8.8.8", "lan"), ("unknown", "lan"), ("192.168.1.7", "key")]
)
def test_who_may_not(peer: str, mode: str) -> None:
    with pytest.raises(AuthError):
        check_peer(peer, mode)


class Box(Server):
    """The part of a server that speaks Wyoming, in this process."""

    def __init__(self, port: int) -> None:
        super().__init__(Path())
        self.wyoming_port = port


@asynccontextmanager
async def box(engine: Engine | None, **limits: float) -> AsyncIterator[Box]:
    """A running Wyoming server with these limits."""
    settings = SettingsHere.model_validate(
        {"server": {"host": "127.0.0.1"}, "wyoming": {"port": 0}, "limits": limits}
    )
    gateway = Gateway(settings)
    if engine is not None:
        gateway.engine_loaded(engine)
    async with serving(gateway, settings) as port:
        assert port is not None
        yield Box(port)
        await gateway.drain()


@asynccontextmanager
async def unharmed(server: Server) -> AsyncIterator[None]:
    """Around it somebody else speaks, whose text stays whole."""
    async with WyomingDriver().connected(server) as speaker:
        await speaker.say(spoken(range(1, 50)))
        yield
        await speaker.say(spoken(range(50, 100)))
        assert (await speaker.end())[1] == counting(range(1, 100))


@asynccontextmanager
async def plain(server: Server) -> AsyncIterator[tuple[WyomingSpeaker, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.host, server.wyoming_port)
    try:
        yield WyomingSpeaker(reader, writer), writer
    finally:
        writer.transport.abort()


async def last_error(speaker: WyomingSpeaker) -> str:
    """The code of the error after which the connection is closed."""
    kind, data = await speaker.read()
    while kind != "error":
        kind, data = await speaker.read()
    with pytest.raises(EOFError):
        await speaker.read()
    return str(data["code"])


HUGE = b'{"type":"audio-chunk","payload_length":1000000000}\n'
BEGIN = event("transcribe") + event("audio-start", FORMAT)


@pytest.mark.parametrize("begin", [b"", BEGIN], ids=["first", "in an utterance"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: box:10300\r\n\r\n", "invalid_json"),
        (b"\x16\x03\x01\x02\x00\x01\x00\n", "invalid_json"),
        (b"[]\n", "invalid_event"),
        (b'{"type":"ping","data_length":-5}\n', "invalid_event"),
        (b"x" * 70_000, "message_too_large"),
        (HUGE, "message_too_large"),
    ],
    ids=["http", "tls", "list", "negative", "endless line", "huge"],
)
def test_what_is_no_wyoming_is_told_and_closed(
    fake_server: Server, begin: bytes, data: bytes, code: str
) -> None:
    """So a web page can post whatever it likes: nothing after the first line is looked at."""

    async def converse() -> None:
        async with unharmed(fake_server), plain(fake_server) as (speaker, _):
            await speaker.write(begin + data)
            assert await last_error(speaker) == code

    asyncio.run(converse())


def test_an_event_that_makes_no_sense_is_told_and_the_connection_goes_on(
    fake_server: Server,
) -> None:
    async def converse() -> None:
        async with plain(fake_server) as (speaker, _):
            await speaker.write(event("ping", {"text": "a"})[:-1] + b"]")
            assert (await speaker.read())[1]["code"] == "invalid_json"
        async with WyomingDriver().connected(fake_server) as talker:
            await talker.say(spoken([1]))
            assert await talker.send_nonsense() == "invalid_event"
            await talker.write(event("audio-chunk", FORMAT | {"rate": 8_000}, b"other"))
            assert await talker.error_code() == "invalid_audio"
            await talker.say(spoken([2]))
            assert (await talker.end())[1] == "1 2"

    asyncio.run(converse())


def test_a_cut_anywhere(fake_server: Server) -> None:
    audio = samples_to_pcm16(spoken(range(1, 20)))
    stream = BEGIN + event("audio-chunk", FORMAT, audio) + event("audio-stop")

    async def converse() -> None:
        rng = random.Random(10300)
        async with unharmed(fake_server):
            for turn in range(30):
                async with plain(fake_server) as (speaker, writer):
                    await speaker.write(stream[: rng.randrange(1, len(stream))])
                    if turn % 2:
                        writer.close()
                        await writer.wait_closed()

    asyncio.run(converse())
    assert "Traceback" not in fake_server.log


def test_before_the_engine_is_loaded() -> None:
    """Home Assistant asks again when it is told an error and the connection is closed."""

    async def converse() -> None:
        async with box(None) as server:
            for question in (event("describe"), BEGIN):
                async with plain(server) as (speaker, _):
                    await speaker.write(event("ping") + question)
                    assert (await speaker.read())[0] == "pong"
                    assert await last_error(speaker) == "engine_unavailable"

    asyncio.run(converse())


class _BrokenSession(FakeSession):
    async def start(self) -> None:
        raise EngineFailed("it is broken")


class _BrokenEngine(FakeEngine):
    def session(self) -> FakeSession:
        return _BrokenSession()


def test_no_transcript_stands_for_what_the_engine_could_not_do() -> None:
    async def converse() -> None:
        async with box(_BrokenEngine()) as server, plain(server) as (speaker, _):
            audio = event("audio-chunk", FORMAT, samples_to_pcm16(spoken([1])))
            await speaker.write(BEGIN + audio + event("audio-stop"))
            kind, data = await speaker.read()
            assert (kind, data["code"]) == ("error", "processing_error")
            with pytest.raises(EOFError):
                await speaker.read()

    asyncio.run(converse())


@pytest.mark.parametrize("start", [b"", b'{"type":"pi', event("transcribe", {"name": ""})[:-1]])
def test_who_never_finishes_a_first_event_is_told_and_closed(start: bytes) -> None:
    async def converse() -> None:
        async with (
            box(FakeEngine(), handshake_timeout_s=0.5) as server,
            unharmed(server),
            plain(server) as (speaker, _),
        ):
            await speaker.write(start)
            assert await last_error(speaker) == "idle_timeout"

    asyncio.run(converse())


def test_who_falls_silent_is_told_and_closed() -> None:
    async def converse() -> None:
        async with box(FakeEngine(), idle_timeout_s=0.3) as server:
            for begin in (event("ping"), BEGIN):
                async with plain(server) as (speaker, _):
                    await speaker.write(begin)
                    assert await last_error(speaker) == "idle_timeout"

    asyncio.run(converse())


@pytest.mark.slow
@pytest.mark.parametrize("begin", [b"", BEGIN], ids=["questions", "session"])
def test_who_never_reads_is_disconnected(begin: bytes) -> None:
    async def converse() -> None:
        limits = {"send_timeout_s": 0.3, "close_timeout_s": 0.2}
        async with box(FakeEngine(), **limits) as server, unharmed(server):
            reader, writer = await asyncio.open_connection(
                server.host, server.wyoming_port, limit=1, family=socket.AF_INET
            )
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            provoking = event("ping", {"text": "x" * 2000}) * 100
            writer.write(begin)
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(DEADLINE_S):
                    while True:
                        writer.write(provoking)
                        await writer.drain()
            writer.transport.abort()

    asyncio.run(converse())


def test_one_connection_too_many_is_dropped() -> None:
    async def converse() -> None:
        async with (
            box(FakeEngine(), connections=3) as server,
            unharmed(server),
            plain(server) as (one, _),
            plain(server) as (two, _),
        ):
            for speaker in (one, two):
                await speaker.write(event("ping"))
                assert (await speaker.read())[0] == "pong"
            async with plain(server) as (three, _):
                with pytest.raises((EOFError, ConnectionError)):
                    await three.read()

    asyncio.run(converse())
