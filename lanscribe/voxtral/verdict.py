"""Whether Voxtral will run on an NVIDIA card, decided from facts: pure.

What cannot be mended is told before what can. lanscribe.voxtral.gpu finds the facts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lanscribe.voxtral.memory import MIB
from lanscribe.voxtral.plan import LEAST_CAPABILITY, PERCENT, PROFILES, Plan, profile_for

LEAST_DRIVER = 580
"""The first series for CUDA 13, which vLLM 0.33 and torch 2.14 are built for."""
LEAST_GLIBC = (2, 34)
"""For it requirements/vllm.txt has wheels throughout; for 2.28 it has not."""
LEAST_RAM_BYTES = 8_000_000_000
"""Estimated: vLLM's processes with CUDA about 5 GB, and weights pass through."""
_CPU_SERVES = "the CPU engine serves"
_NEXT = "then: bash setup.sh"

Fault = tuple[str, str]
"""What is wrong; what to do about it, or empty."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program that holds memory of the card."""

    pid: int
    name: str
    used_mib: int | None
    """None where the driver does not tell, as on WSL2."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its driver describes it."""

    name: str
    uuid: str
    """What CUDA_VISIBLE_DEVICES takes."""
    total_mib: int
    free_mib: int
    capability: tuple[int, int]
    """Compute capability; (8, 6) is an RTX 3060."""
    driver: str
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver runs."""
    processes: tuple[Process, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """What counts about the rest of the machine."""

    system: str
    architecture: str
    glibc: tuple[int, int] | None
    is_wsl: bool
    """Whether it is Linux inside Windows, where the driver is Windows' own."""
    available_ram_bytes: int | None
    free_disk_bytes: int
    needed_disk_bytes: int
    """For what is not installed yet."""
    is_vllm_running: bool
    """Whether vLLM itself is what takes the card's memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether Voxtral runs on a card."""

    profile: str
    """The settings it runs with, by lanscribe.voxtral.plan; empty when it cannot run here."""
    will_run: bool
    """Whether it can start now; with a profile and without this, something is in its way."""
    result: str
    """What was found, and what follows."""
    remedy: str = ""
    gpu_memory_utilization: float = 0.0
    """The share of this card that the profile needs, as vLLM takes it; 0 when it cannot start."""
    device: str = ""
    """The card by its uuid, where there are several to choose from."""


def judge(card: Card, host: Host, wanted: str = "") -> Verdict:
    """Whether this card can serve Voxtral, and whether it can now.

    wanted: the profile that is asked for by name, in place of the one for this card.
    """
    found = describe(card)
    profile = wanted or profile_for(card.total_mib / 1024, card.capability)
    fault = (
        _platform_fault(host)
        or _capability_fault(card)
        or (None if profile else ("it has too little memory for Voxtral", ""))
        or _driver_fault(card, host)
        or _disk_fault(host)
    )
    if fault or not profile:
        why, remedy = fault or ("", "")
        return Verdict("", False, f"{found}; {why}; {_CPU_SERVES}", remedy)
    plan = plan_for(card, host, profile)
    if hindrance := _memory_fault(card, plan):
        return Verdict(profile, False, f"{found}; {hindrance[0]}", hindrance[1])
    result, remedy = f"{found}; Voxtral runs on it, with the profile {profile}", ""
    ram_bytes = host.available_ram_bytes
    if ram_bytes is not None and ram_bytes < LEAST_RAM_BYTES and not host.is_vllm_running:
        result += f"; only {ram_bytes / 1e9:.1f} GB of the machine's own memory are free"
        remedy = _ram_remedy(host)
    return Verdict(profile, True, result, remedy, plan.percent / PERCENT)


def best(cards: Sequence[Card], host: Host, wanted: str = "") -> Card | None:
    """The card to serve on: one that can, and of those the one with most free memory."""

    def rank(card: Card) -> tuple[bool, bool, int]:
        verdict = judge(card, host, wanted)
        return bool(verdict.profile), verdict.will_run, card.free_mib

    return max(cards, key=rank, default=None)


def visible(cards: Sequence[Card], devices: str | None) -> list[Card]:
    """The cards that CUDA shows, in its order, when CUDA_VISIBLE_DEVICES is `devices`.

    Numbers count as nvidia-smi counts. As in CUDA, the first entry that is none ends the list.
    """
    if devices is None:
        return list(cards)
    shown: list[Card] = []
    for entry in map(str.strip, devices.split(",")):
        numbered = cards[int(entry) : int(entry) + 1] if entry.isdecimal() else ()
        named = [card for card in cards if entry and card.uuid.startswith(entry)]
        if len(found := [*numbered, *named]) != 1:
            break
        shown += found
    return shown


def describe(card: Card) -> str:
    """A card in one line."""
    return (
        f"{card.name}, {card.total_mib} MiB ({card.free_mib} free), "
        f"compute capability {_dotted(card.capability)}, driver {card.driver}"
    )


def _platform_fault(host: Host) -> Fault | None:
    if (host.system, host.architecture) != ("Linux", "x86_64"):
        return f"vLLM is set up on Linux on x86-64 only, not {host.system} {host.architecture}", ""
    if host.glibc is None or host.glibc < LEAST_GLIBC:
        found = _dotted(host.glibc) if host.glibc else "another C library"
        why = f"vLLM's packages need glibc {_dotted(LEAST_GLIBC)} or newer, here is {found}"
        return why, f"upgrade to Debian 12, Ubuntu 22.04 or newer, {_NEXT}"
    return None


def _capability_fault(card: Card) -> Fault | None:
    if card.capability >= LEAST_CAPABILITY:
        return None
    needed = _dotted(LEAST_CAPABILITY)
    return f"its generation is too old: {needed} or more is needed, as from RTX 30 on", ""


def _driver_fault(card: Card, host: Host) -> Fault | None:
    series = card.driver.partition(".")[0]
    if series.isdecimal() and int(series) >= LEAST_DRIVER:
        return None
    remedy = f"install NVIDIA's driver {LEAST_DRIVER} or newer, restart the machine"
    if host.is_wsl:
        remedy = f"in Windows install NVIDIA's driver {LEAST_DRIVER} or newer; wsl --shutdown"
    return f"the driver is older than the {LEAST_DRIVER} that CUDA 13 needs", f"{remedy}; {_NEXT}"


def plan_for(card: Card, host: Host, profile: str) -> Plan:
    """A profile on this card, in what is free of its memory unless vLLM itself holds that."""
    (one,) = (one for one in PROFILES if one.name == profile)
    free_gib = None if host.is_vllm_running else card.free_mib / 1024
    return one.on(card.total_mib / 1024, free_gib)


def _memory_fault(card: Card, plan: Plan) -> Fault | None:
    if plan.fits:
        return None
    needed_mib = math.ceil(plan.least_free_bytes / MIB)
    if needed_mib > card.total_mib:
        return "its memory is too small for the profile", 'set vllm.profile to "auto"'
    why = f"Voxtral runs on it when {needed_mib} MiB of its memory are free"
    if not card.processes:
        return why, "close what uses the card (games, browsers), then: bash serve.sh"
    return (
        f"{why}; now it is used by {_largest(card.processes)}",
        "close these, then: bash serve.sh",
    )


def _largest(processes: Iterable[Process]) -> str:
    largest = sorted(processes, key=lambda process: -(process.used_mib or 0))[:3]
    return ", ".join(
        process.name if process.used_mib is None else f"{process.name} ({process.used_mib} MiB)"
        for process in largest
    )


def _disk_fault(host: Host) -> Fault | None:
    if host.free_disk_bytes >= host.needed_disk_bytes:
        return None
    free, needed = host.free_disk_bytes / 1e9, host.needed_disk_bytes / 1e9
    why = f"{free:.1f} GB of the disk are free, vLLM and the model need {needed:.1f} GB"
    return why, f"free some, {_NEXT}"


def _ram_remedy(host: Host) -> str:
    if host.is_wsl:
        return "in Windows write [wsl2] and memory=12GB into .wslconfig; wsl --shutdown"
    return "before bash serve.sh close what you do not need"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
