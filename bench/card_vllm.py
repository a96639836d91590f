"""Starts vLLM with one of this project's profiles on a card, and watches what it takes of it."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pynvml
import torch

PROJECT_DIR = Path(__file__).resolve().parent.parent
SERVER = ("-P", "-m", "vllm.entrypoints.openai.api_server")
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
GIB, MIB = 1 << 30, 1 << 20
START_TIMEOUT_S = 420.0
LOOK_S = 0.1
RELEASE_S = 3.0
"""How long the driver may take to free what a killed process held."""
TOLD = re.compile(
    r"model loading took|kv cache|graph captur|memory profiling|concurrency|torch.compile took"
    r"|engine .*took|cudagraph|available.*memory|loading weights took",
    re.IGNORECASE,
)
"""The lines of vLLM's log that say what it took and holds."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the weights are held: a profile and what is added to it."""

    profile: str
    environment: Mapping[str, str] = field(default_factory=dict)


FORMS = {
    "int4": Form("rtx3060-12gb"),
    "fp8": Form("fp8-12gb", {"VLLM_TEST_FORCE_FP8_MARLIN": "1"}),
    "bf16": Form("bf16-24gb"),
}


def tell(stage: str, **figures: object) -> None:
    """Print one figure or several, at once."""
    print(json.dumps({"stage": stage, **figures}), flush=True)


class Peaks:
    """The most that the card and vLLM's processes held, looked at ten times a second."""

    def __init__(self) -> None:
        pynvml.nvmlInit()
        self._card = pynvml.nvmlDeviceGetHandleByIndex(0)
        self.before_bytes = self.card_bytes()
        self.card_peak_bytes, self.host_peak_bytes = self.before_bytes, 0
        self._pid = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def card_bytes(self) -> int:
        """What is used of the card, by everybody."""
        return int(pynvml.nvmlDeviceGetMemoryInfo(self._card).used)

    def start(self, pid: int) -> None:
        """Begin to look at a process, its children and the card."""
        self._pid = pid
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_S):
            self.card_peak_bytes = max(self.card_peak_bytes, self.card_bytes())
            self.host_peak_bytes = max(self.host_peak_bytes, resident_bytes(self._pid))


def resident_bytes(pid: int) -> int:
    """Memory that a process and its children do not share with a file, and resident."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for one in family:
        try:
            memory = one.memory_info()
        except psutil.NoSuchProcess:
            continue
        total += memory.rss - memory.shared
    return total


@contextmanager
def vllm_serving(stage: str, options: argparse.Namespace, flags: Sequence[str]) -> Iterator[Peaks]:
    """vLLM with `model`, as serve.sh starts it; tells what its start took."""
    log_path = options.logs / f"{stage.replace(' ', '-')}.log"
    command = [sys.executable, *SERVER, "--model", str(options.model), *flags, *options.flag]
    command += ["--host", "127.0.0.1", "--port", str(options.port)]
    variables = {**os.environ, **OFFLINE, **FORMS[options.form].environment}
    peaks, started_s = Peaks(), time.monotonic()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=variables, start_new_session=True
        )
    peaks.start(process.pid)
    try:
        wait_for(f"http://127.0.0.1:{options.port}/health", process, log_path)
        tell(
            stage,
            start_s=round(time.monotonic() - started_s, 1),
            card_mib=(peaks.card_bytes() - peaks.before_bytes) // MIB,
            card_peak_mib=(peaks.card_peak_bytes - peaks.before_bytes) // MIB,
            host_peak_mib=peaks.host_peak_bytes // MIB,
            log=told_lines(log_path),
        )
        yield peaks
        tell(
            stage,
            card_after_mib=(peaks.card_bytes() - peaks.before_bytes) // MIB,
            card_peak_mib=(peaks.card_peak_bytes - peaks.before_bytes) // MIB,
        )
    finally:
        peaks.stop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(RELEASE_S)


def wait_for(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    """Wait until a server answers; raises RuntimeError with the end of its log if it does not."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    lines = log_path.read_text(errors="replace").splitlines()
    first = next((n for n, line in enumerate(lines) if "Traceback" in line), len(lines) - 40)
    cause = "\n".join(lines[max(0, first - 3) :][:60])
    raise RuntimeError(f"{url} does not answer; its log:\n{cause}")


def told_lines(log_path: Path) -> list[str]:
    """What vLLM said of its memory and its times."""
    lines = log_path.read_text(errors="replace").splitlines()
    return [line[-220:] for line in lines if TOLD.search(line)]


def profile_flags(form: Form, card_gib: float) -> list[str]:
    """A profile with the share of this card that is one of `card_gib`."""
    total_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    path = PROJECT_DIR / "config" / "vllm" / f"{form.profile}.yaml"
    share = next(
        float(line.partition(":")[2])
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("gpu-memory-utilization")
    )
    share *= card_gib / total_gib
    return ["--config", str(path), "--gpu-memory-utilization", f"{share:.4f}"]
