"""The cost of the gateway: latency and processor time per chunk, beside a bare echo.

Streams of 80 ms chunks are sent in real time to two servers: the gateway with the fake engine,
which answers every chunk, and a server that only sends each message back, built on the same
WebSocket library. Each server runs in its own process on this machine.

    python -m bench.gateway [--streams 20] [--seconds 10] [--rounds 3]
"""

import argparse
import asyncio
import base64
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect

from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import samples_to_pcm16

PROJECT_DIR = Path(__file__).resolve().parent.parent
CHUNK_S = 0.08
CLOCK_TICKS_HZ = os.sysconf("SC_CLK_TCK")
AUDIO = base64.b64encode(samples_to_pcm16(spoken([1]))).decode()
CHUNK = json.dumps({"type": "input_audio_buffer.append", "audio": AUDIO})
OPENING = (
    json.dumps({"type": "session.update", "model": "fake-numbers"}),
    json.dumps({"type": "input_audio_buffer.commit"}),
)
GATEWAY = [sys.executable, "-m", "lanscribe", "serve", "--engine", "fake", "--host", "127.0.0.1"]
GATEWAY += ["--port", "0", "--log-level", "warning", "--log-file", ""]
APART = {
    "LANSCRIBE_WYOMING_PORT": "0",
    "LANSCRIBE_DISCOVERY_ENABLED": "false",
}
"""Settings so that it disturbs no other server."""
ECHO_SERVER = """
import asyncio
from websockets.asyncio.server import serve
async def echo(connection):
    async for message in connection:
        await connection.send(message)
async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"ws://127.0.0.1:{port}/v1/realtime\\n  stop", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Round:
    """One server under one load."""

    latencies_ms: list[float]
    cpu_us_per_chunk: float


class Line(Protocol):
    """A connection within an utterance."""

    async def exchange(self) -> None:
        """Send a chunk and wait for its answer."""

    async def close(self) -> None:
        """Leave."""


@dataclass(frozen=True)
class Subject:
    """A server to measure: its command line, and how to connect, given its output."""

    command: list[str]
    open: Callable[[str], Awaitable[Line]]


class WebSocketLine:
    """A connection that sends the same text frame repeatedly."""

    def __init__(self, connection: ClientConnection, chunk: str) -> None:
        self._connection = connection
        self._chunk = chunk

    async def exchange(self) -> None:
        """Send a frame; wait for one."""
        await self._connection.send(self._chunk)
        await self._connection.recv()

    async def close(self) -> None:
        """Close the WebSocket."""
        await self._connection.close()


async def open_line(
    banner: str, path: str = "/v1/realtime", opening: Sequence[str] = OPENING, chunk: str = CHUNK
) -> Line:
    """Connect, send `opening` and one chunk; an echo sends the same messages back."""
    url = re.search(r"ws://[^/\s]+", banner)
    assert url is not None
    connection = await connect(url[0] + path, compression=None)
    for message in (*opening, chunk):
        await connection.send(message)
    while "delta" not in (answer := str(await connection.recv())) and answer != chunk:
        pass
    return WebSocketLine(connection, chunk)


ECHO = Subject([sys.executable, "-c", ECHO_SERVER], open_line)


async def main() -> None:
    """Measure both servers in turn and print the table."""
    await compare({"bare echo": ECHO, "gateway": Subject(GATEWAY, open_line)}, __doc__)


async def compare(subjects: Mapping[str, Subject], description: str | None) -> None:
    """Measure the servers in turn in each round, and print the table."""
    options = _options(description)
    rounds: dict[str, list[Round]] = {name: [] for name in subjects}
    for _ in range(options.rounds):
        for name, subject in subjects.items():
            rounds[name].append(await _measure(subject, options.streams, options.seconds))
    _print(rounds, options.streams)


def _options(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


async def _measure(subject: Subject, streams: int, seconds: float) -> Round:
    async with _server(subject.command) as (pid, banner):
        lines = [await subject.open(banner) for _ in range(streams)]
        before = _cpu_s(pid)
        chunks = round(seconds / CHUNK_S)
        latencies = await asyncio.gather(
            *(stream(one, chunks, number / streams) for number, one in enumerate(lines))
        )
        cpu_s = _cpu_s(pid) - before
        for line in lines:
            await line.close()
    flat = [latency * 1000 for stream in latencies for latency in stream]
    return Round(flat, cpu_s / (chunks * streams) * 1e6)


@asynccontextmanager
async def _server(command: list[str]) -> AsyncIterator[tuple[int, str]]:
    """Run it; yield its process id and its output until it was ready."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT_DIR, env=os.environ | APART, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    banner = ""
    while "  stop" not in banner:
        banner += (await process.stdout.readline()).decode()
    try:
        yield process.pid, banner
    finally:
        process.terminate()
        await process.wait()


async def stream(line: Line, chunks: int, phase: float) -> list[float]:
    """Send a chunk every 80 ms, offset by `phase` chunks; seconds from each chunk to its answer."""
    latencies = []
    start = time.monotonic() + phase * CHUNK_S
    for number in range(chunks):
        await asyncio.sleep(start + number * CHUNK_S - time.monotonic())
        sent = time.monotonic()
        await line.exchange()
        latencies.append(time.monotonic() - sent)
    return latencies


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_HZ


def _print(rounds: dict[str, list[Round]], streams: int) -> None:
    print(f"{streams} streams of {CHUNK_S * 1000:.0f} ms chunks; medians of the rounds\n")
    print("| server | latency p50 | p95 | processor per chunk | streams per core |")
    print("| --- | --- | --- | --- | --- |")
    for name, results in rounds.items():
        p50 = statistics.median(statistics.median(one.latencies_ms) for one in results)
        p95 = statistics.median(statistics.quantiles(one.latencies_ms, n=20)[-1] for one in results)
        cpu = statistics.median(one.cpu_us_per_chunk for one in results)
        per_core = CHUNK_S / (cpu * 1e-6)
        print(f"| {name} | {p50:.2f} ms | {p95:.2f} ms | {cpu:.0f} us | {per_core:.0f} |")


if __name__ == "__main__":
    asyncio.run(main())
