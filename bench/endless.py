"""Whether a long session is as fast at its end as at its start.

    python -m bench.endless vllm --python VLLM_PYTHON [--minutes 20] [--direct-minutes 4]
    python -m bench.endless hours [--hours 3]

vllm: a tiny random checkpoint on the CPU, so the times are those of vLLM's work around a model.
In one run of one server, three sessions take turns of half a minute: one session of vLLM itself,
one endless session over it, and a vLLM session that is new in each minute. The last one shows how
fast the machine is in that minute. Draws docs/images/endless.png.
hours: the endless layer alone, over the fake engine.
`bash tests/vllm/real/environment.sh` prints VLLM_PYTHON.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.base import EngineSession
from lanscribe.engines.fake import FakeEngine, spoken
from lanscribe.engines.vllm import VllmEngine, VllmServer
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.voxtral.steps import STEP_S
from tests.vllm.real import server as tiny
from tests.vllm.real.forker import Forker
from tests.vllm.real.sound import melody

PICTURE = Path(__file__).resolve().parent.parent / "docs/images/endless.png"
TURN_S = 30.0
ENDS = 5
"""The number of minutes compared at each end."""
LISTENING_S = 3.0
"""How much audio an open session may hold back: at a seam, until it is past it."""
MAX_MODEL_LEN = 8192
"""Ten minutes of audio."""
MB = 1e6
CLOCK_TICKS_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Minute:
    """The cost of a minute of audio."""

    wall_ms: float
    """Per step of 80 ms."""
    cpu_ms: float
    """Of vLLM's processes, per step."""
    vllm_mb: float
    own_mb: float


class Listener:
    """A session that is fed a minute at a time, at its own speed."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session
        self._heard = asyncio.Condition()
        self._heard_s = 0.0
        self._fed_s = 0.0

    async def start(self) -> None:
        """Open it."""
        await self._session.start()
        self._listening = asyncio.create_task(self._listen())

    async def hear(self, samples: Samples) -> None:
        """Wait until the session has heard the samples."""
        for first in range(0, len(samples), sample_count(STEP_S)):
            await self._session.feed(samples[first : first + sample_count(STEP_S)])
        self._fed_s += duration_s(len(samples))
        async with self._heard:
            await self._heard.wait_for(
                lambda: self._heard_s >= self._fed_s - LISTENING_S or self._listening.done()
            )
        if self._listening.done():
            self._listening.result()

    async def stop(self) -> None:
        """Drop it."""
        await self._session.abort()
        await self._listening

    async def _listen(self) -> None:
        async for token in self._session:
            async with self._heard:
                self._heard_s = max(self._heard_s, token.end_s)
                self._heard.notify_all()


async def minutes_of(vllm: tiny.VllmServer, options: argparse.Namespace) -> dict[str, list[Minute]]:
    """The sessions in turn, minute by minute."""
    engine = VllmEngine(VllmServer(vllm.http_url, vllm.model, MAX_MODEL_LEN), LevelDetector())
    length_s = options.session_s
    rollover = Timing(target_s=length_s, limit_s=length_s, pause_s=10)
    rows = {
        "endless": await opened(EndlessEngine(engine, rollover).session()),
        "direct": await opened(engine.session()),
    }
    taken: dict[str, list[Minute]] = {name: [] for name in (*rows, "new")}
    for number in range(options.minutes):
        if number == options.direct_minutes:
            await rows.pop("direct").stop()
        rows["new"] = await opened(engine.session())
        turns: dict[str, list[Minute]] = {name: [] for name in rows}
        for half in range(2):
            sound = melody(TURN_S, seed=2 * number + half)
            for name, listener in rows.items():
                turns[name].append(await measure(listener, sound, vllm))
        await rows.pop("new").stop()
        for name, halves in turns.items():
            taken[name].append(mean(halves))
            print(f"{name:8} minute {number + 1:3}: {taken[name][-1]}", flush=True)
    for listener in rows.values():
        await listener.stop()
    return taken


async def opened(session: EngineSession) -> Listener:
    """A listener that has heard the first seconds."""
    listener = Listener(session)
    await listener.start()
    await listener.hear(melody(5.0, seed=99))
    return listener


def mean(parts: list[Minute]) -> Minute:
    """Of parts of the same length."""
    return Minute(*(statistics.fmean(one) for one in zip(*map(astuple, parts), strict=True)))


async def measure(listener: Listener, sound: Samples, vllm: tiny.VllmServer) -> Minute:
    """Feed a sound to a session."""
    wall_s, cpu_s = time.perf_counter(), group_cpu_s(vllm.group)
    await listener.hear(sound)
    steps = duration_s(len(sound)) / STEP_S
    return Minute(
        wall_ms=(time.perf_counter() - wall_s) / steps * 1000,
        cpu_ms=(group_cpu_s(vllm.group) - cpu_s) / steps * 1000,
        vllm_mb=sum(resident_bytes(pid) for pid, _ in processes(vllm.group)) / MB,
        own_mb=resident_bytes(os.getpid()) / MB,
    )


def processes(group: int) -> list[tuple[int, list[str]]]:
    """Every process of a group, with its fields in /proc/PID/stat from the state on."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            found.append((int(folder.name), fields))
    return found


def group_cpu_s(group: int) -> float:
    """Processor time of all processes of a group so far."""
    ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in processes(group))
    return ticks / CLOCK_TICKS_HZ


def resident_bytes(pid: int) -> int:
    """A process's memory."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def vllm(options: argparse.Namespace) -> None:
    """Time and memory against minutes of audio."""
    with tempfile.TemporaryDirectory() as name:
        checkpoint, log = Path(name) / "tiny", Path(name) / "log"
        flags = [*tiny.BF16_FLAGS, "--max-model-len", str(MAX_MODEL_LEN)]
        flags += ["--kv-cache-memory-bytes", "1G"]
        with Forker(options.python) as forker:
            forker.run("tests.vllm.real.checkpoint", "--forgetful", "--out", str(checkpoint))
            with tiny.VllmServer(forker, checkpoint, flags, log).running() as server:
                taken = asyncio.run(minutes_of(server, options))
    print(f"\nload average {os.getloadavg()}; engine sessions of {options.session_s:g} s")
    print("| | minute | wall per step | processor per step | vLLM's memory | lanscribe's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, minutes in taken.items():
        for number in sorted({0, len(minutes) // 2, len(minutes) - 1}):
            one = minutes[number]
            print(
                f"| {name} | {number + 1} | {one.wall_ms:.1f} ms | {one.cpu_ms:.1f} ms"
                f" | {one.vllm_mb:.0f} MB | {one.own_mb:.0f} MB |"
            )
    for name in ("endless", "new"):
        steps_ms = [one.wall_ms for one in taken[name]]
        first, last = statistics.median(steps_ms[:ENDS]), statistics.median(steps_ms[-ENDS:])
        print(
            f"{name}: median of the first {ENDS} minutes {first:.1f} ms, of the last {last:.1f} ms"
        )
        print(f"{name}: last / first {last / first:.2f}")
    draw(taken)


def draw(taken: dict[str, list[Minute]]) -> None:
    """Step time and memory against minutes."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(10, 4))
    lines = {
        "direct": "vLLM itself",
        "endless": "behind lanscribe",
        "new": "vLLM itself, a new session each minute",
    }
    for name, label in lines.items():
        minutes = range(1, len(taken[name]) + 1)
        times.plot(minutes, [one.wall_ms for one in taken[name]], marker="o", ms=3, label=label)
    both = taken["endless"]
    memory.plot(range(1, len(both) + 1), [one.vllm_mb for one in both], label="vLLM, all sessions")
    memory.plot(range(1, len(both) + 1), [one.own_mb for one in both], label="lanscribe")
    times.set(xlabel="minutes of audio", ylabel="time for 80 ms of audio, in ms")
    memory.set(xlabel="minutes of audio", ylabel="resident memory, in MB")
    for axes in (times, memory):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90)
    print(f"drew {PICTURE}")


async def hours_of(minutes: int) -> None:
    """Talk and pauses through the endless layer; speed and memory of each quarter."""
    session = EndlessEngine(FakeEngine(), Timing()).session()
    listener = Listener(session)
    await listener.start()
    minute = spoken([number % 15 and 1000 + number for number in range(750)])
    print("| quarter | times real time | a second of audio | resident memory |")
    print("| --- | --- | --- | --- |")
    for quarter in range(4):
        times_s = []
        for _ in range(minutes // 4):
            before_s = time.process_time()
            await listener.hear(minute)
            times_s.append(time.process_time() - before_s)
        per_s = statistics.median(times_s) / 60
        memory = resident_bytes(os.getpid()) / MB
        print(f"| {quarter + 1} | {1 / per_s:.0f} | {per_s * 1000:.2f} ms | {memory:.0f} MB |")
    await listener.stop()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.endless")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("vllm")
    one.add_argument("--python", type=Path, required=True)
    one.add_argument("--minutes", type=int, default=20)
    one.add_argument("--direct-minutes", type=int, default=4)
    one.add_argument("--session-s", type=float, default=60.0)
    two = commands.add_parser("hours")
    two.add_argument("--hours", type=float, default=3.0)
    return parser.parse_args()


def main() -> None:
    """Run one of the two."""
    chosen = options()
    if chosen.command == "vllm":
        vllm(chosen)
    else:
        asyncio.run(hours_of(round(chosen.hours * 60)))


if __name__ == "__main__":
    main()
