"""The facts about this machine and this installation that the doctor judges.

Standard library only, and no decisions. Facts that need the installed packages come from the
environment's own Python in a separate process, so that a broken package, or a sound driver that
crashes or hangs, is a fact like any other.
"""

import ctypes.util
import json
import os
import platform
import shlex
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.identity import network
from lanscribe.installation import VLLM_LOCK, Outcome, run, run_in_venv
from lanscribe.server import keys
from lanscribe.vllm import probe

ANSWER_TIMEOUT_S = 3
WYOMING_BYTES = 4096
WSL_NVIDIA_SMI = "/usr/lib/wsl/lib/nvidia-smi"
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"
SOUND_PROBE = """
import json, sounddevice
names = [device["name"] for device in sounddevice.query_devices() if device["max_input_channels"]]
print(json.dumps({"version": sounddevice.get_portaudio_version()[1], "microphones": names}))
"""
_REACHABLE = """
import os
from lanscribe.admin.sources import load
from lanscribe.identity import reachable
print(*reachable.shown("::", load(environ=os.environ)))
"""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """The facts about the key for clients outside the home network."""

    place: str
    is_there: bool
    is_readable_by_others: bool = False


@dataclass(frozen=True, slots=True)
class GraphicsFacts:
    """The facts about graphics cards, to compute on instead of the CPU."""

    system: str
    architecture: str
    nvidia_smi: Outcome | None
    """The outcome of nvidia-smi; None if the program is absent."""
    has_nvidia_card: bool
    """Whether the PCI bus shows one, with or without driver; WSL2 shows Windows' driver instead."""


@dataclass(frozen=True, slots=True)
class PortFacts:
    """What is on one of the server's ports now."""

    host: str
    port: int
    bind_error: str
    """Why the port cannot be listened on; empty when it can."""
    health: tuple[int, str] | None = None
    """HTTP status and body of /health there; None when nothing answered in HTTP."""
    wyoming: str = ""
    """The answer to Wyoming's describe there; empty if nothing answered."""


def graphics() -> GraphicsFacts:
    """Look for a GPU."""
    program = shutil.which("nvidia-smi") or shutil.which(WSL_NVIDIA_SMI)
    return GraphicsFacts(
        system=platform.system(),
        architecture=platform.machine(),
        nvidia_smi=run([program, "--list-gpus"]) if program else None,
        has_nvidia_card=has_nvidia_card(Path("/sys/bus/pci/devices"))
        or Path(WSL_NVIDIA_SMI).exists(),
    )


def has_nvidia_card(devices: Path) -> bool:
    """Whether one of the PCI devices is a display controller of NVIDIA's."""
    return any(
        _first_line(device / "vendor") == NVIDIA_VENDOR
        and _first_line(device / "class").startswith(DISPLAY_CLASS)
        for device in devices.glob("*")
    )


def sound(project: Path = PROJECT_DIR) -> Outcome | None:
    """PortAudio's version and the microphones as JSON, or None before setup."""
    return run_in_venv(["-c", SOUND_PROBE], project)


def has_portaudio_library() -> bool:
    """Whether the system has PortAudio; needs no packages."""
    return ctypes.util.find_library("portaudio") is not None


def settings(project: Path = PROJECT_DIR) -> Outcome | None:
    """The settings as LANSCRIBE_* lines, or what is wrong with them, or None before setup."""
    return run_in_venv(["-m", "lanscribe", "print-env"], project)


def certificate(project: Path = PROJECT_DIR) -> Outcome | None:
    """The facts about the certificate for https as JSON, or None before setup."""
    return run_in_venv(["-m", "lanscribe", "trust", "--json"], project)


def packages(project: Path = PROJECT_DIR) -> Outcome | None:
    """The faults of the environment, one a line, or None when there is no environment."""
    return run_in_venv(["-m", "lanscribe", "installation", "verify", "embedded"], project)


def vllm_packages(project: Path = PROJECT_DIR) -> Outcome | None:
    """The faults of vLLM's environment, or None when there is no such environment."""
    question = ["-m", "lanscribe", "installation", "verify", VLLM_LOCK]
    return run_in_venv(question, project, lock=VLLM_LOCK)


def model(name: str, project: Path = PROJECT_DIR) -> Outcome | None:
    """Whether the model is in place and intact, or None before setup."""
    return run_in_venv(["-m", "lanscribe", "models", "check", name], project)


def key(values: Mapping[str, str], project: Path = PROJECT_DIR) -> KeyFacts:
    """Look for the key where the settings, by variable name, say it is."""
    if any(line.startswith("# LANSCRIBE_AUTH_KEY is set") for line in values):
        return KeyFacts("the settings", is_there=True)
    place = values.get("LANSCRIBE_AUTH_KEY_FILE", "config/key")
    path = project / place
    if not path.exists():
        return KeyFacts(place, is_there=False)
    return KeyFacts(place, is_there=True, is_readable_by_others=keys.others_can_read(path))


def home_networks(project: Path = PROJECT_DIR) -> list[str]:
    """What auth.networks could name on this machine; empty before setup."""
    question = "from lanscribe.identity import home_networks as it; print(*it.at_hand())"
    outcome = run_in_venv(["-c", question], project)
    return outcome.output.split() if outcome and outcome.status == 0 else []


def addresses(project: Path = PROJECT_DIR) -> list[str]:
    """Addresses and names under which others reach this machine; before setup those with routes."""
    outcome = run_in_venv(["-c", _REACHABLE], project)
    known = outcome is not None and outcome.status == 0
    return outcome.output.split() if outcome and known else network.routed_addresses()


def port(host: str, number: int, *, is_secure: bool = False) -> PortFacts:
    """Look what is on the server's port, or with `is_secure` on its port for TLS."""
    bind_error = _bind_error(host, number)
    found = health(host, number, is_secure=is_secure) if bind_error else None
    return PortFacts(host, number, bind_error, found)


def wyoming_port(host: str, number: int) -> PortFacts:
    """Look what is on the port for Home Assistant."""
    bind_error = _bind_error(host, number)
    answer = _wyoming_answer(host, number) if bind_error else ""
    return PortFacts(host, number, bind_error, wyoming=answer)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_disk_bytes(project: Path = PROJECT_DIR) -> int:
    """Free space on the project's disk."""
    return shutil.disk_usage(project).free


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _bind_error(host: str, number: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, number))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def health(host: str, number: int, *, is_secure: bool = False) -> tuple[int, str] | None:
    """HTTP status and body of /health there; None when nothing answers in HTTP."""
    scheme = "https" if is_secure else "http"
    return _answer(f"{scheme}://{network.url_host(_address_here(host))}:{number}/health")


def trust(host: str, number: int) -> tuple[int, str] | None:
    """HTTP status and body of /trust/check there; None when nothing answers in HTTP."""
    return _answer(f"http://{network.url_host(_address_here(host))}:{number}/trust/check")


def _answer(url: str) -> tuple[int, str] | None:
    try:
        answer = probe.get(url, ANSWER_TIMEOUT_S)
    except OSError:
        return None
    return answer.status, answer.body.decode("utf-8", "replace")


def _wyoming_answer(host: str, number: int) -> str:
    """The answer of a Wyoming server to describe; "" if there is none."""
    address = (_address_here(host), number)
    try:
        with socket.create_connection(address, ANSWER_TIMEOUT_S) as peer:
            peer.sendall(b'{"type": "describe"}\n')
            return peer.recv(WYOMING_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _address_here(host: str) -> str:
    """The address at which this machine itself reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def parse_environment(lines: str) -> dict[str, str]:
    """LANSCRIBE_* lines as print-env writes them -> variable -> value."""
    pairs = (line.partition("=") for line in lines.splitlines())
    return {name: "".join(shlex.split(value)) for name, _, value in pairs if name}


def parse_sound(output: str) -> tuple[str, list[str]]:
    """PortAudio's version and the microphones' names, from the output of `sound`."""
    answer = json.loads(output)
    return str(answer["version"]).partition(",")[0], [str(name) for name in answer["microphones"]]
