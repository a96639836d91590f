"""What it takes to decode an hour of sound, beside FFmpeg's own decoder.

    python -m bench.files [--minutes 60] [--runs 3] [--only mp3,flac] [--profile]

Each file is read in a process of its own, by the reader and by `ffmpeg -i FILE -f null -`, or by
PyAV alone where that program is missing; the medians of the runs are printed. The sound is the
model's own sample with noise, again and again.
"""

import argparse
import cProfile
import multiprocessing
import os
import pstats
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.media.reader import read
from lanscribe.speech.audio import SAMPLE_RATE_HZ, duration_s

KINDS = {
    "mp3": ("mp3", "mp3", 44_100, 2, 128_000),
    "m4a": ("ipod", "aac", 44_100, 2, 128_000),
    "flac": ("flac", "flac", 44_100, 2, 0),
    "opus": ("ogg", "libopus", 48_000, 1, 32_000),
    "webm": ("webm", "libopus", 48_000, 1, 32_000),
    "wav": ("wav", "pcm_s16le", 44_100, 2, 0),
}
"""The muxer, codec, rate in Hz, channels and bits a second of each kind."""
_NOISE = 0.001
_NEAR_S = 10.0
"""The sample is repeated a whole number of times."""
_LONGEST_TRACE = 20


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    heard_s: float = 0.0


def write(path: Path, kind: str, minutes: float) -> None:
    """A file with so many minutes of speech."""
    muxer, codec, rate_hz, channels, bits_per_s = KINDS[kind]
    speech = read_wave(sample_path())
    noise = np.random.default_rng(1).normal(0, _NOISE, len(speech))
    block = np.rint((speech + noise).clip(-1, 1) * 32_767).astype(np.int16)[np.newaxis]
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo" if channels == 2 else "mono"
        if bits_per_s:
            stream.bit_rate = bits_per_s
        for number in range(round(minutes * 60 * SAMPLE_RATE_HZ / block.size)):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, number * block.size
            frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def by_reader(path: Path) -> float:
    """Read a file; return how many seconds were heard."""
    with path.open("rb") as file:
        return sum(duration_s(len(piece)) for piece in read(file) if isinstance(piece, np.ndarray))


def by_pyav(path: Path) -> float:
    """Decode a file by PyAV and nothing else; return how many seconds were heard."""
    heard_s = 0.0
    with av.open(str(path)) as container, suppress(EOFError):
        for frame in container.decode(audio=0):
            heard_s += frame.samples / frame.sample_rate
    return heard_s


def by_program(path: Path) -> float:
    """Decode a file by the program; return the most memory that it had, in MiB."""
    command = ("ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-")
    peak_kb = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with suppress(OSError, IndexError):  # it ends meanwhile
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                peak_kb = max(peak_kb, int(status.partition("VmHWM:")[2].split()[0]))
            time.sleep(0.05)
    return peak_kb / 1024


def measured(work: Callable[[Path], float], path: Path) -> Cost:
    """What it takes; needs a process of its own."""
    before = _cpu_s()
    started_s = time.perf_counter()
    heard_s = work(path)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if work is by_program:
        peak_mb, heard_s = heard_s, 0.0
    return Cost(_cpu_s() - before, time.perf_counter() - started_s, peak_mb, heard_s)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def apart(work: Callable[[Path], float], path: Path) -> Cost:
    """The same, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(partial(measured, work, path)).result()


def median(costs: list[Cost]) -> Cost:
    """The medians of several runs."""
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
        costs[0].heard_s,
    )


def profiled(path: Path) -> None:
    """Print where the reader's time goes."""
    profile = cProfile.Profile()
    profile.runcall(by_reader, path)
    pstats.Stats(profile).sort_stats("tottime").print_stats(_LONGEST_TRACE)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.files")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--profile", action="store_true", help="only show where the time goes")
    options = parser.parse_args()
    other = by_program if shutil.which("ffmpeg") else by_pyav
    name = "ffmpeg" if other is by_program else "PyAV alone"
    print(f"{'':6} {'MB':>6} | {'reader: cpu s':>14} {'peak MB':>8} |", end="")
    print(f" {name + ': cpu s':>14} {'peak MB':>8} | {'ratio':>5} {'load':>5}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.only.split(","):
            path = Path(folder, f"hour.{kind}")
            write(path, kind, options.minutes)
            if options.profile:
                profiled(path)
                continue
            pairs = [(apart(by_reader, path), apart(other, path)) for _ in range(options.runs)]
            ours, theirs = (median([pair[at] for pair in pairs]) for at in (0, 1))
            assert abs(ours.heard_s - options.minutes * 60) < _NEAR_S, ours
            size_mb = path.stat().st_size / 2**20
            print(f"{kind:6} {size_mb:6.0f} | {ours.cpu_s:14.1f} {ours.peak_mb:8.0f} |", end="")
            print(f" {theirs.cpu_s:14.1f} {theirs.peak_mb:8.0f} |", end="")
            print(f" {ours.cpu_s / theirs.cpu_s:5.1f} {os.getloadavg()[0]:5.1f}", flush=True)


if __name__ == "__main__":
    main()
