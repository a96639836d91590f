"""The effect of a flood on speakers: live streams alone, beside it, and beside it into a sink.

Four live streams send 80 ms of audio every 80 ms to their own server with the fake engine, which
answers each chunk. The delay of the answers is measured alone, while another process floods the
server, and while it floods a sink instead. The sink shows what the flood costs this machine anyway.
Rounds take turns, because the load of a machine varies; the figures are medians over the rounds.

    python -m bench.fairness [KIND ...] [--rounds 5] [--seconds 5]

Exits with 1 if a flood makes the 95th percentile more than 1.1 times that beside the sink.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from bench.floods import KEY, KINDS
from bench.gateway import APART, GATEWAY, PROJECT_DIR, Line, open_line
from bench.gateway import stream as latencies_of
from bench.load import percentiles

STREAMS = 4
MOST_RATIO = 1.1
_BEFORE_S = 0.5
"""How long a flood runs before the measurement starts."""
_LONGEST_S = 3600.0


@dataclass
class Figures:
    """For one kind of flood: the 95th percentiles in ms, one per round."""

    alone: list[float] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)
    sunk: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    """The server's peak memory, after a flood."""

    @property
    def ratio(self) -> float:
        """The flooded delay over that beside the sink: the median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(self.flooded, self.sunk, strict=True))


@dataclass(frozen=True)
class Places:
    """Where to flood."""

    pid: int
    http: str
    wyoming: str
    sink: str

    def of(self, kind: str) -> str:
        """The server port for a kind of flood."""
        return self.wyoming if kind == "lobby" else self.http


async def main() -> int:
    """Measure and print the table; return the exit status."""
    options = _options()
    figures = {kind: Figures() for kind in options.kinds}
    async with _places() as places:
        banner = f"ws://{places.http}/"
        path = f"/v1/realtime?api_key={KEY}"
        lines = [await open_line(banner, path) for _ in range(STREAMS)]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for kind, one in figures.items():
                one.alone.append(await _p95_ms(lines, options.seconds))
                async with _flood(kind, places.of(kind), options.seconds):
                    one.flooded.append(await _p95_ms(lines, options.seconds))
                    one.peak_bytes = max(one.peak_bytes, _resident_bytes(places.pid))
                async with _flood(kind, places.sink, options.seconds):
                    one.sunk.append(await _p95_ms(lines, options.seconds))
        for line in lines:
            await line.close()
    print(table(figures))
    return 0 if all(one.ratio <= MOST_RATIO for one in figures.values()) else 1


def table(figures: dict[str, Figures]) -> str:
    """The figures, as Markdown."""
    lines = ["| flood | alone, ms | flooded, ms | sink, ms | ratio | memory, MB |"]
    lines.append("| --- " * 6 + "|")
    for kind, one in figures.items():
        medians = [statistics.median(values) for values in (one.alone, one.flooded, one.sunk)]
        cells = [f"{value:.1f}" for value in medians]
        cells += [f"{one.ratio:.2f}", f"{one.peak_bytes / 1e6:.0f}"]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


async def _p95_ms(lines: list[Line], seconds: float) -> float:
    chunks = round(seconds / 0.08)
    latencies = await asyncio.gather(
        *(latencies_of(line, chunks, number / STREAMS) for number, line in enumerate(lines))
    )
    return 1000 * percentiles([latency for one in latencies for latency in one])[1]


@asynccontextmanager
async def _places() -> AsyncIterator[Places]:
    environment = {"LANSCRIBE_AUTH_KEY": KEY, "LANSCRIBE_AUTH_MODE": "key"}
    async with _process(GATEWAY, "  stop", **environment) as (pid, banner):
        http = re.search(r"ws://([^/\s]+)", banner)
        wyoming = re.search(r"tcp://(\S+)", banner)
        assert http
        assert wyoming
        async with _process(_floods("sink", "127.0.0.1:0", _LONGEST_S), ":") as (_, sink):
            yield Places(pid, http[1], wyoming[1], sink.strip())


@asynccontextmanager
async def _flood(kind: str, where: str, seconds: float) -> AsyncIterator[None]:
    async with _process(_floods(kind, where, 4 * seconds + 10 * _BEFORE_S), ""):
        await asyncio.sleep(_BEFORE_S)
        yield


def _floods(kind: str, where: str, seconds: float) -> list[str]:
    return [sys.executable, "-m", "bench.floods", kind, where, str(seconds)]


@asynccontextmanager
async def _process(
    command: list[str], until: str, **environment: str
) -> AsyncIterator[tuple[int, str]]:
    """Run a process in this context; yield its output up to `until`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=PROJECT_DIR,
        env={**os.environ, **APART, **environment},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    while until not in said:
        said += (await process.stdout.readline()).decode()
    try:
        yield process.pid, said
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _resident_bytes(pid: int) -> int:
    """A process's memory, on Linux; 0 elsewhere."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all of them, or {KINDS}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if strange := set(options.kinds) - set(KINDS):
        parser.error(f"no such flood: {', '.join(strange)}")
    options.kinds = options.kinds or KINDS
    return options


if __name__ == "__main__":
    started_s = time.monotonic()
    status = asyncio.run(main())
    print(f"\n{time.monotonic() - started_s:.0f} s", file=sys.stderr)
    sys.exit(status)
