"""The effect of files on speakers: live streams alone, beside files, and beside as many bytes.

Four live streams talk to their own server with the embedded engine. The delay of its events is
measured alone; while another process sends files as fast as the server accepts them (eight over
WebSockets, two uploads); and while that process sends the same bytes to a sink, in every tenth of a
second as many as before. The sink shows what the bytes cost this machine anyway. Rounds take turns;
the figures are medians over the rounds.

    python -m bench.fairness_files [--rounds 3] [--seconds 30] [--settling-s 1]

Exits with 1 if files make the 95th percentile more than 1.1 times that beside the sink.
"""

import argparse
import asyncio
import base64
import contextlib
import http.client
import io
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from bench.gateway import APART, PROJECT_DIR
from bench.load import percentiles
from bench.talk import PROTOCOLS, read_sound
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, sample_count, samples_to_pcm16

STREAMS, SOCKETS, UPLOADS = 4, 8, 2
MOST_RATIO = 1.1
PHASES = ("alone", "files", "sink")
FILE_S = 60.0
_CHUNK_S = 0.1
_FILE_CHUNK_S = 1.0
SERVER = [sys.executable, "-m", "lanscribe", "serve", "--engine", "embedded"]
SERVER += ["--host", "127.0.0.1", "--port", "0", "--log-level", "warning", "--log-file", ""]
ROOM = {"LANSCRIBE_ENGINE_SESSIONS": str(STREAMS + SOCKETS + UPLOADS + 2)}


@dataclass
class Delays:
    """Seconds from the sending of audio to the event about it, by phase."""

    phase: str = ""
    heard: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    """For every event, which says how far the engine has listened."""
    words: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    """For words, from the end of each."""

    def add(self, event: dict[str, object], now_s: float) -> None:
        """Count an event by its arrival, in seconds from the start of the stream."""
        if self.phase and event["type"] == "transcription.delta":
            kind = self.words if event["delta"] else self.heard
            kind[self.phase].append(now_s - float(str(event["end_s"])))


@dataclass
class Figures:
    """95th percentiles in seconds, one per round, by phase."""

    heard: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    words: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    file_speeds: list[float] = field(default_factory=list)
    """Seconds of file audio heard per second."""

    def add(self, delays: list[Delays], file_speed: float) -> None:
        """Count a round, and clear its delays."""
        for name in PHASES:
            heard = [delay for one in delays for delay in one.heard[name]]
            words = [delay for one in delays for delay in one.words[name]]
            self.heard[name].append(percentiles(heard)[1])
            self.words[name].append(percentiles(words)[1])
            for one in delays:
                one.heard[name].clear()
                one.words[name].clear()
        self.file_speeds.append(file_speed)

    def table(self) -> str:
        """The figures, as Markdown."""
        lines = ["| p95, s | alone | files | sink | files / sink |", "| --- " * 5 + "|"]
        for name, values in (("progress", self.heard), ("words", self.words)):
            cells = [f"{statistics.median(values[phase]):.2f}" for phase in PHASES]
            lines.append(f"| {name} | {' | '.join(cells)} | {ratio(values):.2f} |")
        speed = statistics.median(self.file_speeds)
        return "\n".join([*lines, f"\nfiles: {speed:.1f} s of sound heard in a second"])


def ratio(values: dict[str, list[float]]) -> float:
    """The delay beside files over that beside the sink: the median of the rounds' ratios."""
    pairs = zip(values["files"], values["sink"], strict=True)
    return statistics.median(one / other for one, other in pairs)


async def measure(rounds: int, seconds: float, settling_s: float) -> Figures:
    """All rounds, with one server and the same four streams."""
    figures, talk = Figures(), read_sound(None)
    async with _process(SERVER, "  stop") as (_, banner), _sink() as sink:
        address = re.search(r"ws://([^/\s]+)", banner)
        assert address
        delays = [Delays() for _ in range(STREAMS)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_speak(address[1], np.roll(talk, -number * 30_000), one))
                for number, one in enumerate(delays)
            ]
            for _ in range(rounds):
                await _round(address[1], sink, delays, figures, (settling_s, seconds))
            for task in tasks:
                task.cancel()
    return figures


async def _round(
    address: str, sink: str, delays: list[Delays], figures: Figures, lasts_s: tuple[float, float]
) -> None:
    await _phase(delays, "alone", *lasts_s)
    async with _process(_self("files", address), "begun") as (files, _):
        await _phase(delays, "files", *lasts_s)
        files.terminate()
        assert files.stdout
        heard, sent = (await files.stdout.readline()).decode().split()
    async with _process(_self("bytes", sink, sent), "begun"):
        await _phase(delays, "sink", *lasts_s)
    figures.add(delays, float(heard))


async def _phase(delays: list[Delays], name: str, settling_s: float, seconds: float) -> None:
    await asyncio.sleep(settling_s)
    for one in delays:
        one.phase = name
    await asyncio.sleep(seconds)
    for one in delays:
        one.phase = ""


async def _speak(address: str, talk: Samples, delays: Delays) -> None:
    """A live stream, until it is cancelled."""
    async with connect(f"ws://{address}/v1/realtime", max_size=None) as connection:
        started_s = time.monotonic()
        listener = asyncio.create_task(_listen(connection, delays, started_s))
        try:
            await _open(connection)
            step = sample_count(_CHUNK_S)
            for number in itertools.count(1):
                await asyncio.sleep(started_s + number * _CHUNK_S - time.monotonic())
                at = (number - 1) * step % (len(talk) - step)
                await connection.send(_append(talk[at : at + step]))
        finally:
            listener.cancel()


async def _listen(connection: ClientConnection, delays: Delays, started_s: float) -> None:
    async for message in connection:
        delays.add(json.loads(message), time.monotonic() - started_s)


async def _open(connection: ClientConnection) -> None:
    for message in PROTOCOLS["vllm"].opening(""):
        await connection.send(json.dumps(message))


def _append(samples: Samples) -> str:
    audio = base64.b64encode(samples_to_pcm16(samples)).decode()
    return json.dumps(PROTOCOLS["vllm"].append(audio))


class Files:
    """The process that sends files to a server, and counts the bytes."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._sent_bytes: Counter[int] = Counter()
        """In each `_CHUNK_S` since then."""
        self._heard_s = 0.0

    async def send(self, address: str) -> None:
        """Send files over WebSockets and by upload, until the process is told to end."""
        talk = np.resize(read_sound(None), sample_count(FILE_S))
        step = sample_count(_FILE_CHUNK_S)
        chunks = [_append(talk[at : at + step]) for at in range(0, len(talk), step)]
        work = [self._socket(address, chunks) for _ in range(SOCKETS)]
        work += [self._uploads(address, _wave(talk)) for _ in range(UPLOADS)]
        self._began_s = time.monotonic()
        await _until_told(work)
        lasted_s = time.monotonic() - self._began_s
        sent = (self._sent_bytes[at] for at in range(max(self._sent_bytes) + 1))
        print(self._heard_s / lasted_s, ",".join(map(str, sent)), flush=True)

    def _count_sent(self, count: int) -> None:
        self._sent_bytes[int((time.monotonic() - self._began_s) / _CHUNK_S)] += count

    async def _socket(self, address: str, chunks: list[str]) -> None:
        async with connect(f"ws://{address}/v1/realtime", max_size=None) as connection:
            listener = asyncio.create_task(self._count(connection))
            await _open(connection)
            for chunk in itertools.cycle(chunks):
                await connection.send(chunk)
                self._count_sent(len(chunk))
            await listener

    async def _count(self, connection: ClientConnection) -> None:
        before_s = 0.0
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "transcription.delta" and not event["delta"]:
                self._heard_s += event["end_s"] - before_s
                before_s = event["end_s"]

    async def _uploads(self, address: str, data: bytes) -> None:
        while True:
            self._count_sent(len(data))
            await asyncio.to_thread(_upload, address, data)
            self._heard_s += FILE_S


async def _waste(address: str, sent: list[int]) -> None:
    """Send the counted bytes of each `_CHUNK_S`, over as many connections as the files used."""
    host, _, port = address.partition(":")
    count = SOCKETS + UPLOADS
    writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(count)]
    began_s = time.monotonic()

    async def send(writer: asyncio.StreamWriter) -> None:
        for number, total in enumerate(itertools.cycle(sent)):
            writer.write(bytes(total // count))
            await writer.drain()
            await asyncio.sleep(began_s + (number + 1) * _CHUNK_S - time.monotonic())

    await _until_told([send(writer) for writer in writers])


async def _until_told(work: list[Coroutine[Any, Any, None]]) -> None:
    """Do all of it until SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    tasks = [asyncio.create_task(one) for one in work]
    print("begun", flush=True)
    waiter = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task in done:
            task.result()
        task.cancel()


def _upload(address: str, data: bytes) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nany\r\n--x\r\n'
        b'Content-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\n'
    )
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    connection = http.client.HTTPConnection(address, timeout=600)
    connection.request("POST", "/v1/audio/transcriptions", form + data + b"\r\n--x--\r\n", head)
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise OSError(answer.read())
    answer.read()
    connection.close()


def _wave(samples: Samples) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples_to_pcm16(samples))
    return target.getvalue()


def _self(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench.fairness_files", *arguments]


@asynccontextmanager
async def _process(
    command: list[str], until: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a process in this context; yield it and its output up to `until`."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT_DIR, env={**os.environ, **APART, **ROOM}, stdout=subprocess.PIPE
    )
    assert process.stdout
    said = ""
    while until not in said:
        line = await process.stdout.readline()
        if not line:
            raise OSError(f"{command[2:]} ended; it said {said!r}")
        said += line.decode()
    try:
        yield process, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _discard() -> None:
    """Read everything, over any number of connections."""

    async def read(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@asynccontextmanager
async def _sink() -> AsyncIterator[str]:
    async with _process(_self("discard"), "\n") as (_, port):
        yield f"127.0.0.1:{port.strip()}"


def main() -> int:
    """Measure, or run as one of the helper processes; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("role", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settling-s", type=float, default=1.0, help="unmeasured, of each phase")
    options = parser.parse_args()
    match options.role:
        case ["files", address]:
            asyncio.run(Files().send(address))
        case ["bytes", address, sent]:
            asyncio.run(_waste(address, [int(count) for count in sent.split(",")]))
        case ["discard"]:
            asyncio.run(_discard())
        case _:
            figures = asyncio.run(measure(options.rounds, options.seconds, options.settling_s))
            print(figures.table())
            return int(ratio(figures.heard) > MOST_RATIO or ratio(figures.words) > MOST_RATIO)
    return 0


if __name__ == "__main__":
    sys.exit(main())
