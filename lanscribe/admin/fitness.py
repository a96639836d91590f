"""Whether lanscribe's packages can run on this machine, said before anything is downloaded.

setup.sh runs `python -m lanscribe fitness` with the Python that it found. Standard library only.
Exit status 0, or 1 with what is wrong, why and what to do on stderr.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.admin import machine
from lanscribe.admin.card_checks import judge_gpu
from lanscribe.installation import run, say
from lanscribe.voxtral import gpu

KINDS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}
LEAST_GLIBC = (2, 28)
LEAST_MACOS = (14, 0)
"""All packages of requirements/embedded.txt have wheels for these."""
TEMPORARY_BYTES = 250_000_000
"""pip keeps what it downloads (130 MB) and unpacks there."""
V2_FLAGS = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
"""Of /proc/cpuinfo, for x86-64-v2, which numpy is built for; pni is SSE3."""

Fault = tuple[str, str]
"""Why lanscribe cannot be set up; what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts about a machine that its packages depend on."""

    system: str
    architecture: str
    """Of the kernel."""
    bits: int
    """Of Python."""
    glibc: tuple[int, int] | None = None
    """None for another C library, such as musl; only of Linux."""
    macos: tuple[int, int] | None = None
    is_rosetta: bool = False
    """Whether this process is translated from x86-64 for Apple silicon."""
    processor_flags: frozenset[str] = frozenset()
    """Empty if they are not known."""
    processor: str = ""


def fault_of(machine: Machine) -> Fault | None:
    """Why the packages cannot run there; None if they can."""
    return _processor_fault(machine) or _kind_fault(machine) or _system_fault(machine)


def _kind_fault(machine: Machine) -> Fault | None:
    if (machine.system, machine.architecture) in KINDS:
        return None
    return (
        f"its packages are not built for {machine.system} {machine.architecture}",
        "use Linux on x86-64 or arm64, or macOS on Apple silicon",
    )


def _processor_fault(machine: Machine) -> Fault | None:
    if machine.is_rosetta:
        return (
            "this Python is for Intel Macs and runs translated (Rosetta) on Apple silicon",
            "use a terminal and a Python for Apple silicon (brew install python@3.13 in"
            " /opt/homebrew), then: bash setup.sh",
        )
    if machine.bits != 64:
        return (
            f"this Python has {machine.bits} bits, and the packages are built for 64"
            f" ({machine.architecture} is the kernel's architecture)",
            "install a 64-bit system; on a Raspberry Pi that is Raspberry Pi OS (64-bit)",
        )
    lacking = sorted(V2_FLAGS - machine.processor_flags)
    if machine.architecture == "x86_64" and machine.processor_flags and lacking:
        return (
            f"the processor ({machine.processor}) is older than x86-64-v2, which the packages are"
            f" built for: it lacks {', '.join(lacking)}",
            "in a virtual machine give it the processor of the host (Proxmox: Hardware, Processors,"
            ' Type "host"; QEMU: -cpu host), then: bash setup.sh; without one use a machine from'
            " 2009 or later",
        )
    return None


def _system_fault(machine: Machine) -> Fault | None:
    if machine.system == "Linux" and machine.glibc is None:
        return (
            "this system has another C library than glibc (musl, as of Alpine), which the packages"
            " are not built for",
            "use Debian, Ubuntu, Fedora or another with glibc; in a container: debian:12-slim",
        )
    if machine.glibc is not None and machine.glibc < LEAST_GLIBC:
        found, least = _dotted(machine.glibc), _dotted(LEAST_GLIBC)
        return (
            f"the packages need glibc {least} or newer, here is {found}",
            "upgrade to Debian 10, Ubuntu 20.04, RHEL 8 or newer, then: bash setup.sh",
        )
    if machine.macos is not None and machine.macos < LEAST_MACOS:
        return (
            f"the packages need macOS {LEAST_MACOS[0]} or newer, here is {_dotted(machine.macos)}",
            "upgrade macOS, then: bash setup.sh",
        )
    return None


def temporary_fault(folder: Path, free_bytes: int, roomy: Path | None) -> Fault | None:
    """Why pip cannot work in its folder for temporary files; roomy: one with more space."""
    if free_bytes >= TEMPORARY_BYTES:
        return None
    needed_mb, free_mb = TEMPORARY_BYTES // 10**6, free_bytes // 10**6
    remedy = f"TMPDIR='{roomy}' bash setup.sh" if roomy else f"free some in {folder}"
    return f"{free_mb} MB are free in {folder}, where pip unpacks; it needs {needed_mb} MB", remedy


def read_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """The facts about this machine."""
    processor = _processor(cpuinfo)
    system = _uname("-s")
    release = platform.mac_ver()[0] if system == "Darwin" else ""
    translated = run(["sysctl", "-n", "sysctl.proc_translated"]) if release else None
    return Machine(
        system=system,
        architecture=_uname("-m"),
        bits=64 if sys.maxsize > 2**32 else 32,
        glibc=gpu.glibc() if system == "Linux" else None,
        macos=_numbers(release),
        is_rosetta=translated is not None and translated.output.strip() == "1",
        processor_flags=frozenset(processor.get("flags", "").split()),
        processor=processor.get("model name", ""),
    )


def _uname(flag: str) -> str:
    return run(["uname", flag]).output.strip()


def _processor(cpuinfo: Path) -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; empty if it cannot be read."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _numbers(release: str) -> tuple[int, int] | None:
    try:
        major, minor = [*release.split("."), "0"][:2]
        return int(major), int(minor)
    except ValueError:
        return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _roomy_folder(project: Path) -> Path | None:
    """A folder for temporary files that has enough space."""
    for folder in (Path("/var/tmp"), project):
        if (
            folder.is_dir()
            and os.access(folder, os.W_OK)
            and _free_bytes(folder) >= TEMPORARY_BYTES
        ):
            return folder
    return None


def _temporary_fault() -> Fault | None:
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:  # no folder takes a file
        folder = Path(os.environ.get("TMPDIR", "/tmp"))
    free_bytes = _free_bytes(folder) if folder.is_dir() else 0
    return temporary_fault(folder, free_bytes, _roomy_folder(PROJECT_DIR))


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def add_flags(_parser: argparse.ArgumentParser) -> None:
    """`fitness` has no flags."""


def main(_options: argparse.Namespace) -> int:
    """Say what is wrong with this machine; 1 if lanscribe cannot be set up on it."""
    fault = fault_of(read_machine()) or _temporary_fault()
    if fault is not None:
        why, remedy = fault
        say("setup", "lanscribe cannot be set up here")
        sys.stderr.write(f"       why:  {why}\n       next: {remedy}\n")
        return 1
    card = judge_gpu(machine.graphics(), gpu.card_verdict())
    if card.status == "warn":
        say("setup", f"warning: {card.result}\n       next: {card.remedy}")
    return 0
