"""What the gateway adds: latency and processor time for each chunk, beside a bare echo.

Streams of 80 ms chunks are sent in real time to the gateway with the fake engine, which
answers every chunk, and to a server that does nothing but send each message back, built on
the same WebSocket library. Both run as processes of their own on this machine.

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from lanscribe.audio import samples_to_pcm16
from lanscribe.engines.fake import spoken

PROJECT_DIR = Path(__file__).resolve().parent.parent
CHUNK_S = 0.08
CLOCK_TICKS_HZ = os.sysconf("SC_CLK_TCK")
CHUNK = json.dumps(
    {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(samples_to_pcm16(spoken([1]))).decode(),
    }
)
ECHO_SERVER = """
import asyncio
from websockets.asyncio.server import serve
async def echo(connection):
    async for message in connection:
        await connection.send(message)
async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Round:
    """One server under one load."""

    latencies_ms: list[float]
    cpu_us_per_chunk: float


async def main() -> None:
    """Measure both servers in turn and print the table."""
    options = _options()
    gateway = [sys.executable, "-m", "lanscribe", "serve", "--engine", "fake"]
    gateway += ["--host", "127.0.0.1", "--port", "0", "--log-level", "warning", "--log-file", ""]
    commands = {"bare echo": [sys.executable, "-c", ECHO_SERVER], "gateway": gateway}
    rounds: dict[str, list[Round]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            rounds[name].append(await _measure(command, options.streams, options.seconds))
    _print(rounds, options.streams)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


async def _measure(command: list[str], streams: int, seconds: float) -> Round:
    async with _server(command) as (pid, url):
        connections = [await _open(url) for _ in range(streams)]
        before = _cpu_s(pid)
        chunks = round(seconds / CHUNK_S)
        latencies = await asyncio.gather(
            *(_stream(one, chunks, number / streams) for number, one in enumerate(connections))
        )
        cpu_s = _cpu_s(pid) - before
        for connection in connections:
            await connection.close()
    flat = [latency * 1000 for stream in latencies for latency in stream]
    return Round(flat, cpu_s / (chunks * streams) * 1e6)


@asynccontextmanager
async def _server(command: list[str]) -> AsyncIterator[tuple[int, str]]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT_DIR, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    url = None
    while url is None:
        url = re.search(rb"ws://\S+", await process.stdout.readline())
    try:
        yield process.pid, url[0].decode()
    finally:
        process.terminate()
        await process.wait()


async def _open(url: str) -> ClientConnection:
    """A connection in the middle of an utterance; the echo answers the same three messages."""
    connection = await connect(url, compression=None)
    await connection.send(json.dumps({"type": "session.update", "model": "fake-numbers"}))
    await connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
    await connection.send(CHUNK)
    await connection.recv()
    while '"delta"' not in (answer := str(await connection.recv())) and answer != CHUNK:
        pass
    return connection


async def _stream(connection: ClientConnection, chunks: int, phase: float) -> list[float]:
    """Send a chunk each 80 ms, `phase` of one later; seconds from each chunk to its answer."""
    latencies = []
    start = time.monotonic() + phase * CHUNK_S
    for number in range(chunks):
        await asyncio.sleep(start + number * CHUNK_S - time.monotonic())
        sent = time.monotonic()
        await connection.send(CHUNK)
        await connection.recv()
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
