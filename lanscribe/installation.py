"""What setup.sh installed, and the proof that it is still whole.

Standard library only. setup.sh writes the stamp last, so an interrupted run leaves none;
`verify` then compares the environment with the stamp, the lock file and the packages' own
lists of files, and imports the compiled modules. serve.sh checks the stamp alone. vLLM has an
environment of its own, because it pins other versions than lanscribe.

    python -m lanscribe installation write embedded|dev|vllm
    python -m lanscribe installation verify embedded|dev|vllm
    python -m lanscribe installation quick embedded|vllm
"""

import argparse
import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lanscribe import PROJECT_DIR

STAMP_NAME = "lanscribe-setup.json"
LOCKS = ("embedded", "dev")
"""Lock files in requirements/ by name; each contains the pins of those before it."""
VLLM_LOCK = "vllm"
COMMAND_TIMEOUT_S = 20
_IMPORT_TIMEOUT_S = 300
_SIGNALS = {
    "SIGILL": "this processor lacks an instruction that it was built for",
    "SIGKILL": "somebody killed it, or the machine ran out of memory",
    "SIGBUS": "a file that it uses was cut short, or the disk is full or broken",
    "SIGSEGV": "a fault of the program, of its installation or of the machine's memory",
}
"""The usual reasons why a signal ends a program."""
_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    try:
        importlib.import_module(name)
    except (ImportError, OSError) as error:
        print(f"{name} cannot be loaded: {error}", file=sys.stderr, flush=True)
"""
COMPILED = ("numpy", "onnxruntime", "onnx", "av", "soundfile", "soxr", "pydantic_core")
"""Modules with machine code: they fail first on a machine that they were not built for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. status is None if it could not be started or took too long."""

    status: int | None
    output: str
    errors: str = ""

    @property
    def last_words(self) -> str:
        """Why it failed: the last line it wrote, errors first, or the signal that ended it."""
        lines = (self.errors.strip() or self.output.strip()).splitlines()
        if lines:
            return lines[-1].strip()
        return signal_words(-self.status) if self.status is not None and self.status < 0 else ""


def signal_words(number: int) -> str:
    """What it means that a program was ended by a signal."""
    known = {one.value: one.name for one in signal.Signals}
    name = known.get(number, f"signal {number}")
    meaning = _SIGNALS.get(name, "")
    return f"it was ended by {name}{meaning and f': {meaning}'}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an environment was built from, and where."""

    lock: str
    """The name of the lock file, one of LOCKS or VLLM_LOCK."""
    lock_sha256: str
    python: str
    """The interpreter's ABI, such as cpython-311."""
    venv: str
    """The absolute path: an environment does not survive a move."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package in a lock file."""

    versions: frozenset[str]
    is_conditional: bool
    """Whether only some platforms or Python versions need it."""


def venv_dir(project: Path = PROJECT_DIR, lock: str = "embedded") -> Path:
    """Where setup.sh puts the environment with the packages of `lock`."""
    return project / (".venv-vllm" if lock == VLLM_LOCK else ".venv")


def run(
    command: Sequence[str | Path],
    project: Path = PROJECT_DIR,
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> Outcome:
    """Run a command until it ends, for timeout_s at most."""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, "", f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Outcome(None, "", str(error))
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_in_venv(
    arguments: Sequence[str], project: Path = PROJECT_DIR, *, lock: str = "embedded"
) -> Outcome | None:
    """Run the Python of the environment for `lock`; None if there is no such Python."""
    python = venv_dir(project, lock) / "bin/python"
    return run([python, "-P", *arguments], project) if os.access(python, os.X_OK) else None


def lock_path(lock: str, project: Path = PROJECT_DIR) -> Path:
    """The lock file called `lock`."""
    return project / "requirements" / f"{lock}.txt"


def current_stamp(lock: str, project: Path = PROJECT_DIR) -> Stamp:
    """The stamp that a finished setup with `lock` writes now, under this interpreter."""
    return Stamp(
        lock=lock,
        lock_sha256=hashlib.sha256(lock_path(lock, project).read_bytes()).hexdigest(),
        python=sys.implementation.cache_tag,
        venv=str(venv_dir(project, lock)),
    )


def write_stamp(lock: str, project: Path = PROJECT_DIR) -> None:
    """Write the stamp, which states that everything in `lock` is installed. Atomic."""
    path = venv_dir(project, lock) / STAMP_NAME
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(current_stamp(lock, project)), indent=2) + "\n")
    temporary.replace(path)


def read_stamp(project: Path = PROJECT_DIR, lock: str = "embedded") -> Stamp | None:
    """The stamp of the last finished setup in the environment for `lock`, if any."""
    try:
        return Stamp(**json.loads((venv_dir(project, lock) / STAMP_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def stamp_fault(lock: str, project: Path = PROJECT_DIR) -> str:
    """Why the environment does not match `lock`; empty if it does."""
    stamp = read_stamp(project, lock)
    locks = (VLLM_LOCK,) if lock == VLLM_LOCK else LOCKS
    if stamp is None or stamp.lock not in locks:
        return "setup has not finished in this environment"
    if locks.index(stamp.lock) < locks.index(lock):
        return f"it has the packages of {stamp.lock}.txt, not those of {lock}.txt"
    current = current_stamp(stamp.lock, project)
    if stamp.venv != current.venv:
        return f"it was made in {stamp.venv} and works only there"
    if stamp.python != current.python:
        return f"it was made for {stamp.python}, and its Python is now {current.python}"
    if stamp.lock_sha256 != current.lock_sha256:
        return f"requirements/{stamp.lock}.txt has changed since it was made"
    return ""


def read_pins(lock_file: Path) -> dict[str, Pin]:
    """The packages in a lock file by normalised name."""
    pins: dict[str, Pin] = {}
    for line in lock_file.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)\s*(;?)", line):
            name = _normalised(match[1])
            other = pins.get(name, Pin(frozenset(), is_conditional=False))
            conditional = other.is_conditional or bool(match[3])
            pins[name] = Pin(other.versions | {match[2]}, conditional)
    return pins


def package_faults(pins: dict[str, Pin], site_packages: Path) -> Iterator[str]:
    """Packages that are missing or differ in version from the lock file."""
    installed = {
        _normalised(name): version
        for name, _, version in (path.stem.partition("-") for path in _dist_infos(site_packages))
    }
    for name, pin in pins.items():
        version = installed.get(name)
        if version is None and not pin.is_conditional:
            yield f"{name} is not installed"
        if version is not None and version not in pin.versions:
            yield f"{name} is {version}, not {' or '.join(sorted(pin.versions))}"


def file_faults(site_packages: Path) -> Iterator[str]:
    """Files in a package's RECORD that are missing or differ from the size listed there."""
    for dist_info in _dist_infos(site_packages):
        record = dist_info / "RECORD"
        if not record.is_file():
            yield f"{dist_info.name} was not fully installed"
            continue
        for name, _, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
            if size and _size(site_packages / name) != int(size):
                yield f"{name} of {dist_info.stem} is missing or changed"


def import_faults() -> Iterator[str]:
    """Compiled modules that this machine cannot load; one that crashes takes only a child along."""
    command = [sys.executable, "-P", "-c", _IMPORT, *COMPILED]
    outcome = run(command, timeout_s=_IMPORT_TIMEOUT_S)
    yield from (line for line in outcome.errors.splitlines() if " cannot be loaded: " in line)
    if outcome.status != 0:
        name = (outcome.output.split() or ["Python"])[-1]
        status = outcome.status or 0
        why = signal_words(-status) if status < 0 else outcome.last_words
        yield f"{name} cannot be loaded: {why}"


def verify(lock: str, project: Path = PROJECT_DIR) -> Iterator[str]:
    """All faults of the environment that this interpreter runs in.

    vLLM and its dependencies are not imported: that takes half a minute.
    """
    if fault := stamp_fault(lock, project):
        yield fault
        return
    site_packages = Path(sysconfig.get_path("purelib"))
    pins = read_pins(lock_path(lock, project))
    faults = [*package_faults(pins, site_packages), *file_faults(site_packages)]
    yield from faults or (() if lock == VLLM_LOCK else import_faults())


def say(speaker: str, text: str) -> None:
    """Write to the person at the terminal, on stderr, in the name of one part of the program."""
    if sys.stderr is not None:  # it was closed
        sys.stderr.write(f"{speaker}: {text}\n")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: what to do, and with which environment."""
    parser.add_argument("action", choices=("write", "verify", "quick"))
    parser.add_argument("lock", choices=(*LOCKS, VLLM_LOCK))


def main(options: argparse.Namespace) -> int:
    """Write or check the stamp; faults go to stdout, one per line."""
    if options.action == "write":
        write_stamp(options.lock)
        return 0
    if options.action == "quick":
        faults = [fault for fault in [stamp_fault(options.lock)] if fault]
    else:
        faults = list(verify(options.lock))
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def _dist_infos(site_packages: Path) -> list[Path]:
    return sorted(site_packages.glob("*.dist-info"))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
