"""Decides from facts whether Voxtral runs on an NVIDIA card: pure.

Faults without a remedy are reported before those with one. lanscribe.voxtral.gpu finds the facts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lanscribe.voxtral.asked import Asked, refusal
from lanscribe.voxtral.memory import MIB
from lanscribe.voxtral.plan import (
    LEAST_CAPABILITY,
    PERCENT,
    PROFILES,
    Plan,
    Profile,
    profile_for,
)

LEAST_DRIVER = 580
"""The first series for CUDA 13, which vLLM 0.33 and torch 2.14 are built for."""
LEAST_GLIBC = (2, 34)
"""All packages of requirements/vllm.txt have wheels for it, but not for 2.28."""
LEAST_RAM_BYTES = 8_000_000_000
"""Estimated: vLLM's processes with CUDA take about 5 GB, and the weights pass through."""
_CPU_SERVES = "the CPU engine serves"
_NEXT = "then: bash setup.sh"
_ELSEWHERE = (
    "run vLLM for Voxtral by yourself, such as from NVIDIA's container, and put its address into"
    " vllm.url in config/local.toml"
)

Fault = tuple[str, str]
"""The fault; what to do about it, or empty."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program that uses the card's memory."""

    pid: int
    name: str
    used_mib: int | None
    """None if the driver does not report it, as on WSL2."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its driver describes it."""

    name: str
    uuid: str
    """The form that CUDA_VISIBLE_DEVICES accepts."""
    total_mib: int
    """0 if the driver does not tell, as of a card that uses the machine's own memory."""
    free_mib: int
    capability: tuple[int, int]
    """Compute capability; (8, 6) is an RTX 3060."""
    driver: str
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver supports."""
    processes: tuple[Process, ...] = ()
    is_mig: bool = False
    """Whether it is divided into parts (MIG mode)."""


@dataclass(frozen=True, slots=True)
class Host:
    """The relevant facts about the rest of the machine."""

    system: str
    architecture: str
    glibc: tuple[int, int] | None
    is_wsl: bool
    """Whether it is Linux inside Windows, which uses the driver of Windows."""
    available_ram_bytes: int | None
    free_disk_bytes: int
    needed_disk_bytes: int
    """For everything that is not installed yet."""
    is_vllm_running: bool
    """Whether vLLM itself uses the card's memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether Voxtral runs on a card."""

    profile: str
    """The settings it runs with, from lanscribe.voxtral.plan; empty if it cannot run here."""
    will_run: bool
    """Whether it can start now; False with a profile means that something prevents the start."""
    result: str
    """The card, and whether Voxtral runs on it."""
    remedy: str = ""
    gpu_memory_utilization: float = 0.0
    """The share of this card that the profile needs, in vLLM's form; 0 if it cannot start."""
    device: str = ""
    """The uuid of the card, if there are several."""
    refusal: str = ""
    """Why the sizes that were asked for cannot run on it, and what can; empty if they can."""


NOTHING = Asked()


def judge(card: Card, host: Host, wanted: str = "", asked: Asked = NOTHING) -> Verdict:
    """Whether this card can serve Voxtral, and whether it can start now.

    wanted: the name of a profile to use in place of the one for this card. asked: sizes in place
    of the planner's.
    """
    found = describe(card)
    profile = wanted or profile_for(card.total_mib / 1024, card.capability)
    fault = (
        _platform_fault(host)
        or _capability_fault(card)
        or _division_fault(card)
        or (None if profile else ("it has too little memory for Voxtral", ""))
        or _driver_fault(card, host)
        or _disk_fault(host)
    )
    if fault or not profile:
        why, remedy = fault or ("", "")
        return Verdict("", False, f"{found}; {why}; {_CPU_SERVES}", remedy)
    one = _profile(profile)
    plan = plan_for(card, host, one, asked)
    if why := refusal(asked, one, plan):
        remedy = "leave the flag out, or give what fits"
        return Verdict(profile, False, f"{found}; {why}", remedy, refusal=f"{why}, on {found}")
    if hindrance := _memory_fault(card, plan):
        return Verdict(profile, False, f"{found}; {hindrance[0]}", hindrance[1])
    result, remedy = f"{found}; Voxtral runs on it, with the profile {profile}", ""
    ram_bytes = host.available_ram_bytes
    if ram_bytes is not None and ram_bytes < LEAST_RAM_BYTES and not host.is_vllm_running:
        result += f"; only {ram_bytes / 1e9:.1f} GB of the machine's own memory are free"
        remedy = _ram_remedy(host)
    share = asked.gpu_memory_utilization or plan.percent / PERCENT
    return Verdict(profile, True, result, remedy, share)


def best(
    cards: Sequence[Card], host: Host, wanted: str = "", asked: Asked = NOTHING
) -> Card | None:
    """The card to serve on: one that can serve, with the most free memory."""

    def rank(card: Card) -> tuple[bool, bool, int]:
        verdict = judge(card, host, wanted, asked)
        return bool(verdict.profile), verdict.will_run, card.free_mib

    return max(cards, key=rank, default=None)


def visible(cards: Sequence[Card], devices: str | None) -> list[Card]:
    """The cards that CUDA shows, in its order, when CUDA_VISIBLE_DEVICES is `devices`.

    Numbers are those of nvidia-smi. As in CUDA, the first entry that names no card ends the list.
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
    memory = f"{card.total_mib} MiB ({card.free_mib} free)"
    if not card.total_mib:
        memory = (
            "whose memory the driver does not tell (on Jetson and GB10 it is the machine's own)"
        )
    return (
        f"{card.name}, {memory}, "
        f"compute capability {_dotted(card.capability)}, driver {card.driver}"
    )


def _platform_fault(host: Host) -> Fault | None:
    if (host.system, host.architecture) != ("Linux", "x86_64"):
        why = f"vLLM is set up on Linux on x86-64 only, not {host.system} {host.architecture}"
        return why, _ELSEWHERE if host.system == "Linux" else ""
    if host.glibc is None or host.glibc < LEAST_GLIBC:
        found = _dotted(host.glibc) if host.glibc else "another C library"
        why = f"vLLM's packages need glibc {_dotted(LEAST_GLIBC)} or newer, here is {found}"
        return why, f"upgrade to Debian 12, Ubuntu 22.04 or newer, {_NEXT}"
    return None


def _capability_fault(card: Card) -> Fault | None:
    if card.capability >= LEAST_CAPABILITY:
        return None
    needed = _dotted(LEAST_CAPABILITY)
    return f"its generation is too old: {needed} or more is needed (RTX 30 cards or newer)", ""


def _division_fault(card: Card) -> Fault | None:
    if card.is_mig:
        why = "it is divided into parts (MIG mode), which setup does not use"
        return why, f"turn that off: sudo nvidia-smi -i {card.uuid} -mig 0; {_NEXT}"
    if not card.total_mib:
        return "without that Voxtral cannot be planned", _ELSEWHERE
    return None


def _driver_fault(card: Card, host: Host) -> Fault | None:
    series = card.driver.partition(".")[0]
    if series.isdecimal() and int(series) >= LEAST_DRIVER:
        return None
    remedy = f"install NVIDIA's driver {LEAST_DRIVER} or newer, restart the machine"
    if host.is_wsl:
        remedy = f"in Windows install NVIDIA's driver {LEAST_DRIVER} or newer; wsl --shutdown"
    return f"the driver is older than the {LEAST_DRIVER} that CUDA 13 needs", f"{remedy}; {_NEXT}"


def plan_for(card: Card, host: Host, profile: Profile, asked: Asked = NOTHING) -> Plan:
    """A profile on this card, in its free memory; in all of it if vLLM itself runs there."""
    free_gib = None if host.is_vllm_running else card.free_mib / 1024
    return profile.on(card.total_mib / 1024, free_gib, asked.max_model_len)


def _profile(name: str) -> Profile:
    (found,) = (one for one in PROFILES if one.name == name)
    return found


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
