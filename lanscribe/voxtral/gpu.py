"""The NVIDIA card of this machine, and whether Voxtral runs on it.

    python -m lanscribe gpu [--json] [--model-here] [--to-start] [--profile NAME]
                            [--max-model-len N] [--gpu-memory-utilization F]

Exit status: 0 if Voxtral can run now, 1 if a card was found but it cannot, 3 if none was found.
The facts come from NVIDIA's management library (nvidia-ml-py), or from nvidia-smi if that package
is not installed yet; lanscribe.voxtral.verdict judges them. For programs, --json prints

    {"card": null | {...}, "host": {...},
     "verdict": null | {"profile", "will_run", "result", "remedy",
                        "gpu_memory_utilization", "device", "refusal"}}
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

from lanscribe import PROJECT_DIR, installation
from lanscribe.installation import VLLM_LOCK, run, run_in_venv
from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral.asked import Asked
from lanscribe.voxtral.plan import PROFILES
from lanscribe.voxtral.verdict import (
    NOTHING,
    Card,
    Host,
    Process,
    Verdict,
    best,
    judge,
    visible,
)

PACKAGES_BYTES = 18_000_000_000
"""Estimated: .venv-vllm 9 GB, plus the packages in pip's cache and once more during the install."""
NOT_USABLE = 1
NO_CARD = 3
_WSL_NVIDIA_SMI = "/usr/lib/wsl/lib/nvidia-smi"
_SMI_FIELDS = "name,uuid,memory.total,memory.free,compute_cap,driver_version"
_NOT_TOLD = {"[N/A]", "N/A", "[Not Supported]"}
"""In place of a value: of the memory on Jetson and GB10, whose card uses the machine's own."""
_SMI_TIMEOUT_S = 20
_VLLM_TITLE = "VLLM::"
"""Set by `set_process_title` in vLLM's system_utils.py; the core's title is VLLM::EngineCore."""
_MIB = 1 << 20


def read_cards() -> list[Card]:
    """The cards that CUDA shows here; none if the driver is absent or does not work."""
    return visible(_all_cards(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def _all_cards() -> list[Card]:
    try:
        import pynvml  # noqa: PLC0415  not installed before setup
    except ModuleNotFoundError:
        return parse_smi(_nvidia_smi())
    try:
        pynvml.nvmlInit()
        return [_card(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return parse_smi(_nvidia_smi())


def parse_smi(output: str) -> list[Card]:
    """Cards from the output of nvidia-smi for _SMI_FIELDS as csv,noheader,nounits."""
    cards = []
    for line in output.splitlines():
        with suppress(ValueError):
            name, uuid, total, free, capability, driver = (cell.strip() for cell in line.split(","))
            major, minor = capability.split(".")
            numbers = (int(major), int(minor))
            total_mib, free_mib = (0 if cell in _NOT_TOLD else int(cell) for cell in (total, free))
            cards.append(Card(name, uuid, total_mib, free_mib, numbers, driver))
    return cards


def read_host(*, model_is_here: bool = False, project: Path = PROJECT_DIR) -> Host:
    """The facts about this machine that Voxtral depends on."""
    needed_bytes = 0 if installation.read_stamp(project, VLLM_LOCK) else PACKAGES_BYTES
    if not model_is_here and voxtral_files.fault() is not None:
        needed_bytes += voxtral_files.APPROXIMATE_BYTES
    return Host(
        system=platform.system(),
        architecture=platform.machine(),
        glibc=glibc(),
        is_wsl=is_here_wsl(),
        available_ram_bytes=available_ram_bytes(_text(Path("/proc/meminfo"))),
        free_disk_bytes=shutil.disk_usage(project).free,
        needed_disk_bytes=needed_bytes,
        is_vllm_running=is_vllm_running(Path("/proc"), project),
    )


def is_here_wsl() -> bool:
    """Whether this machine is WSL."""
    return is_wsl(_text(Path("/proc/version")))


def is_wsl(proc_version: str) -> bool:
    """Whether /proc/version names WSL."""
    return "microsoft" in proc_version.lower()


def available_ram_bytes(meminfo: str) -> int | None:
    """Memory available without swapping, from /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def is_vllm_running(proc: Path, project: Path) -> bool:
    """Whether vLLM's core, found by its process title, runs from this folder.

    WSL2 does not report which processes use the card, so this reads /proc instead.
    """
    return any(
        _text(path).startswith(_VLLM_TITLE) and _folder_of(path.parent) == project
        for path in proc.glob("[0-9]*/cmdline")
    )


def _folder_of(process: Path) -> Path | None:
    """A process's working folder; None if it has ended or belongs to another user."""
    try:
        return (process / "cwd").readlink()
    except OSError:
        return None


def verdict_on(
    cards: Sequence[Card], host: Host, profile: str = "", asked: Asked = NOTHING
) -> Verdict | None:
    """The verdict on the best card; None without a card."""
    card = best(cards, host, profile, asked)
    if card is None:
        return None
    verdict = judge(card, host, profile, asked)
    return replace(verdict, device=card.uuid) if len(cards) > 1 else verdict


def card_verdict(
    project: Path = PROJECT_DIR, *flags: str, profile: str = "auto", asked: Asked = NOTHING
) -> Verdict | None:
    """Whether Voxtral runs on the NVIDIA card; None if no driver shows a card.

    flags: those of `lanscribe gpu`. profile: as in vllm.profile; a profile that is not one of
    the project's is ignored. asked: sizes in place of the planner's.
    """
    is_known = any(one.name == profile for one in PROFILES)
    wanted = ("--profile", profile) if is_known else ()
    question = ["-m", "lanscribe", "gpu", "--json", *flags, *wanted, *asked.flags]
    outcome = run_in_venv(question, project) or run([sys.executable, "-P", *question], project)
    try:
        return Verdict(**json.loads(outcome.output)["verdict"])
    except (ValueError, KeyError, TypeError):
        return None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for what the card is judged by."""
    parser.add_argument("--json", action="store_true", help="print for programs")
    parser.add_argument("--model-here", action="store_true", help="the model needs no more space")
    parser.add_argument("--to-start", action="store_true", help="nothing more will be installed")
    names = [profile.name for profile in PROFILES]
    parser.add_argument("--profile", choices=names, default="", help="judge for this profile")
    parser.add_argument("--max-model-len", type=int, default=0, help="in place of the profile's")
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.0, help="the same")


def main(options: argparse.Namespace) -> int:
    """Report to stdout; return the verdict as exit status."""
    host = read_host(model_is_here=options.model_here)
    if options.to_start:
        host = replace(host, needed_disk_bytes=0)
    cards = read_cards()
    asked = Asked(options.max_model_len, options.gpu_memory_utilization)
    verdict = verdict_on(cards, host, options.profile, asked)
    if options.json:
        card = best(cards, host, options.profile, asked)
        sys.stdout.write(_as_json(card, host, verdict) + "\n")
    elif verdict is not None:
        sys.stdout.write(f"{verdict.result}\n")
        if verdict.remedy:
            sys.stdout.write(f"-> {verdict.remedy}\n")
    if verdict is None:
        return NO_CARD
    return 0 if verdict.will_run else NOT_USABLE


def _card(nvml: ModuleType, number: int) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    total_bytes, free_bytes = _memory(nvml, handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Card(
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        total_mib=total_bytes // _MIB,
        free_mib=free_bytes // _MIB,
        capability=(major, minor),
        driver=nvml.nvmlSystemGetDriverVersion(),
        cuda=_cuda(nvml),
        processes=_processes(nvml, handle),
        is_mig=_is_mig(nvml, handle),
    )


def _memory(nvml: ModuleType, handle: object) -> tuple[int, int]:
    """The card's memory and what is free of it, in bytes; (0, 0) if the driver does not tell."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return 0, 0
    return memory.total, memory.free


def _is_mig(nvml: ModuleType, handle: object) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # of most cards
        return False


def _cuda(nvml: ModuleType) -> tuple[int, int] | None:
    try:
        version = nvml.nvmlSystemGetCudaDriverVersion_v2()
    except nvml.NVMLError:
        return None
    return version // 1000, version % 1000 // 10


def _processes(nvml: ModuleType, handle: object) -> tuple[Process, ...]:
    """The processes that use the card, if the driver reports them."""
    found: dict[int, Process] = {}
    for ask in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        with suppress(nvml.NVMLError):
            for entry in ask(handle):
                used_mib = None if entry.usedGpuMemory is None else entry.usedGpuMemory // _MIB
                found[entry.pid] = Process(entry.pid, _process_name(nvml, entry.pid), used_mib)
    return tuple(found.values())


def _process_name(nvml: ModuleType, pid: int) -> str:
    try:
        path: str = nvml.nvmlSystemGetProcessName(pid)
    except nvml.NVMLError:
        return "a program"
    name = Path(path.split(" ", maxsplit=1)[0]).name
    return name if name.isprintable() and name else "a program"


def _nvidia_smi() -> str:
    """The output of nvidia-smi; empty if it is absent or fails."""
    program = shutil.which("nvidia-smi") or shutil.which(_WSL_NVIDIA_SMI)
    if program is None:
        return ""
    command = [program, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def glibc() -> tuple[int, int] | None:
    """The version of glibc here; None with another C library."""
    name, version = platform.libc_ver()
    try:
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _as_json(card: Card | None, host: Host, verdict: Verdict | None) -> str:
    values = {"card": card, "host": host, "verdict": verdict}
    report = {name: None if value is None else asdict(value) for name, value in values.items()}
    return json.dumps(report, indent=2)
