"""Checks the machine and the installation: what is wrong, and what to do about it.

Standard library only, so that it runs before anything is installed:

    python3 -m lanscribe doctor [--json] [--only NAME]...

Exit status 0, or 1 when a check fails. With a warning the server still runs. For programs, --json
prints one object:

    {"ok": bool, "checks": [{"name": str, "status": "ok" | "warn" | "fail",
                             "result": str, "remedy": str}, ...]}

Every name of CHECKS appears once, in that order; remedy is empty when there is nothing to do.
lanscribe.admin.machine finds the facts; the judge_* functions here are pure.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Literal

from lanscribe import PROJECT_DIR
from lanscribe.admin import control, machine
from lanscribe.admin.card_checks import judge_gpu, judge_voxtral
from lanscribe.admin.check import SETUP, Check
from lanscribe.admin.machine import KeyFacts, PortFacts
from lanscribe.admin.tls_check import TlsFacts, judge_running, judge_tls
from lanscribe.installation import Outcome
from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral import gpu
from lanscribe.voxtral.files import model_dir
from lanscribe.voxtral.verdict import Verdict

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES = 1_000_000_000
LEAST_FREE_BYTES = 1_000_000_000
_WHOSE = {"tailscale": "your tailnet", "own-prefix": "your IPv6 prefix"}


def judge_python(version: tuple[int, int, int], path: str) -> Check:
    """The Python that runs the doctor: the environment's own after setup."""
    text = f"{'.'.join(map(str, version))} ({path})"
    if version[:2] < OLDEST_PYTHON:
        return Check("python", "fail", f"{text}, expected 3.11 or newer", "install python3.11")
    return Check("python", "ok", text)


def judge_packages(outcome: Outcome | None) -> Check:
    """The environment, its stamp and every package in it."""
    if outcome is None:
        return Check("packages", "fail", "not installed yet", SETUP)
    if outcome.status == 0:
        return Check("packages", "ok", "all installed, as locked in requirements/")
    faults = outcome.output.strip().splitlines() or [outcome.last_words or "Python does not run"]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Check("packages", "fail", faults[0] + more, f"{SETUP}, which rebuilds .venv")


def judge_settings(outcome: Outcome | None) -> Check:
    """The configuration files and LANSCRIBE_* variables."""
    if outcome is None:
        return Check("settings", "warn", "cannot be read before setup", SETUP)
    lines = [line.removeprefix("lanscribe: ") for line in outcome.errors.strip().splitlines()]
    old = [line for line in lines if line.startswith("warning: ")]
    if outcome.status == 0 and old:
        return Check("settings", "warn", "\n".join(old), "remove the settings named here")
    if outcome.status == 0:
        return Check("settings", "ok", "valid")
    if outcome.status == 2:
        why = "\n".join(line for line in lines if line not in old)
        return Check("settings", "fail", why, "correct the value named here")
    return Check("settings", "fail", f"cannot be read: {outcome.last_words}", SETUP)


def judge_model(name: str, outcome: Outcome | None) -> Check:
    """The weights of the embedded engine."""
    if outcome is None:
        return Check("model", "fail", f"{name} is not here yet", SETUP)
    if outcome.status == 0:
        return Check("model", "ok", f"{name} is in place and intact")
    why = outcome.last_words.removeprefix("model: ") or f"{name} is not in place"
    return Check("model", "fail", why, f"{SETUP} --model {name}")


def judge_portaudio(system: str, outcome: Outcome | None, has_library: bool) -> Check:
    """The library for sound cards, which only the microphone client needs."""
    if outcome is not None and outcome.status == 0:
        return Check("portaudio", "ok", machine.parse_sound(outcome.output)[0])
    if outcome is None and has_library:
        return Check("portaudio", "ok", "found")
    if outcome is None and system == "Darwin":
        return Check("portaudio", "ok", "comes with the packages")
    if outcome is None or "not found" in outcome.errors:
        package = (
            "brew install portaudio" if system == "Darwin" else "sudo apt install libportaudio2"
        )
        why = "not found; everything works except stream_microphone.py on this machine"
        return Check("portaudio", "warn", why, package)
    why = f"does not work here: {outcome.last_words}"
    return Check("portaudio", "warn", why, "only stream_microphone.py on this machine needs it")


def judge_microphone(outcome: Outcome | None) -> Check:
    """A microphone on this machine; other devices have their own."""
    elsewhere = "speak from another device, or plug one in here"
    if outcome is None or outcome.status != 0:
        return Check("microphone", "warn", "not known without setup and PortAudio", elsewhere)
    _, names = machine.parse_sound(outcome.output)
    if not names:
        return Check("microphone", "warn", "none on this machine", elsewhere)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Check("microphone", "ok", names[0] + more)


def judge_memory(memory_bytes: int, cores: int) -> Check:
    """Memory and cores; the embedded engine takes 0.2 to 0.5 GB."""
    result = f"{memory_bytes / 1e9:.1f} GB of memory, {cores} {'core' if cores == 1 else 'cores'}"
    if memory_bytes < LEAST_MEMORY_BYTES:
        return Check("memory", "warn", f"{result}: little", f"{SETUP} --model tiny-en takes less")
    return Check("memory", "ok", result)


def judge_disk(free_bytes: int) -> Check:
    """Space for updates, logs and a converted model."""
    result = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < LEAST_FREE_BYTES:
        return Check("disk", "warn", result, "free 1 GB before the next setup")
    return Check("disk", "ok", result)


def judge_port(facts: PortFacts) -> Check:
    """Whether the server can listen, or already does."""
    other = f"bash serve.sh --port {facts.port + 1 if facts.port < 65_535 else 8000}"
    return _judge_port("port", "fail", facts, is_ours=_is_ours(facts.health), other=other)


def judge_tls_port(facts: PortFacts, *, is_own: bool) -> Check:
    """The same for TLS; a server with a certificate of its owner's does not start without it."""
    other = "set another tls.port in config/local.toml"
    fault: Literal["warn", "fail"] = "fail" if is_own else "warn"
    return _judge_port("tls", fault, facts, is_ours=_is_ours(facts.health), other=other)


def judge_wyoming(facts: PortFacts | None) -> Check:
    """The same for Home Assistant; if this port is taken, everything else still works."""
    if facts is None:
        return Check("wyoming", "ok", "off in the settings")
    is_ours = any(word in facts.wyoming for word in ('"lanscribe"', '"engine_unavailable"'))
    other = "set another wyoming.port in config/local.toml"
    return _judge_port("wyoming", "warn", facts, is_ours=is_ours, other=other)


def _judge_port(
    name: str, fault: Literal["warn", "fail"], facts: PortFacts, *, is_ours: bool, other: str
) -> Check:
    """Whether a port is free or the server's own. fault: the status if not; other: a remedy."""
    if facts.port == 0:
        return Check(name, "ok", "any free one")
    if not facts.bind_error:
        return Check(name, "ok", f"{facts.port} is free")
    if is_ours:
        return Check(name, "ok", f"{facts.port}: lanscribe is running there")
    why = f"cannot listen on {facts.host}:{facts.port}: {facts.bind_error}"
    if facts.health is not None:
        why = f"{facts.port} is taken by another web server"
    if facts.wyoming.startswith("{"):
        why = f"{facts.port} is taken by another server for Home Assistant"
    return Check(name, fault, why, f"end what runs there, or {other}")


def judge_server(facts: PortFacts) -> Check:
    """What the running server reports of itself."""
    if facts.health is None or not _is_ours(facts.health):
        return Check("server", "ok", "not running", "bash serve.sh starts it")
    status, body = facts.health
    if status == 200:
        return Check("server", "ok", "ready")
    why = json.loads(body).get("reason", f"HTTP {status}")
    return Check("server", "warn", f"not ready: {why}", "wait a moment, then look into its log")


def judge_access(mode: str, key: KeyFacts, offers: Sequence[str] = ()) -> Check:
    """Who has access, and whether the key is secret.

    offers: what auth.networks could name besides what it does.
    """
    if mode == "open":
        who = "anybody who can reach this machine"
        return Check("access", "warn", who, 'set auth.mode to "lan" or "key"')
    if not key.is_there:
        if mode == "key":
            return Check("access", "fail", f"only with the key, but {key.place} is missing", SETUP)
        who = "the home network; there is no key for others"
        return Check("access", "ok", who, _offer(offers))
    who = f"{'only' if mode == 'key' else 'the home network; others'} with the key in {key.place}"
    if key.is_readable_by_others:
        why = f"{who}, which others on this machine can read"
        return Check("access", "warn", why, f"chmod 600 {key.place}")
    return Check("access", "ok", who, _offer(offers) if mode == "lan" else "")


def _offer(networks: Sequence[str]) -> str:
    """What lets devices of further networks in; "" if there are none."""
    if not networks:
        return ""
    whose = " and ".join(_WHOSE[network] for network in networks)
    added = ", ".join(networks)
    return f"for {whose} to come in without the key, add to auth.networks: {added}"


def judge_network(found: Sequence[str], host: str = "0.0.0.0") -> Check:
    """Under which names other devices reach this machine. host: server.host."""
    kept = [one for one in found if ":" not in one or host != "0.0.0.0"]
    if any(":" in one or one[0].isdecimal() for one in kept):
        return Check("network", "ok", ", ".join(kept))
    if ipv6 := [one for one in found if ":" in one]:
        why = f"only IPv6 addresses ({', '.join(ipv6)}), and server.host 0.0.0.0 is IPv4 only"
        return Check("network", "warn", why, 'set server.host = "::" in config/local.toml')
    return Check("network", "warn", "this machine has no address on a network", "connect it")


class Examination:
    """Finds facts, each once and only when a check asks for it."""

    def __init__(self, project: Path = PROJECT_DIR) -> None:
        self.project = project

    @cached_property
    def settings(self) -> Outcome | None:
        """The outcome of print-env; None before setup."""
        return machine.settings(self.project)

    @cached_property
    def values(self) -> dict[str, str]:
        """The settings by variable name; empty when they cannot be read."""
        readable = self.settings is not None and self.settings.status == 0
        return machine.parse_environment(self.settings.output) if readable and self.settings else {}

    @cached_property
    def sound(self) -> Outcome | None:
        """The outcome of asking PortAudio; None before setup."""
        return machine.sound(self.project)

    @cached_property
    def model_name(self) -> str:
        """The model that the settings name."""
        return self.values.get("LANSCRIBE_ENGINE_MODEL", "base-en")

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the NVIDIA card can serve; without a card the settings are not read."""
        verdict = gpu.card_verdict(self.project)
        profile = self.values.get("LANSCRIBE_VLLM_PROFILE", "auto") if verdict else "auto"
        if profile == "auto":
            return verdict
        return gpu.card_verdict(self.project, profile=profile)

    @cached_property
    def key(self) -> KeyFacts:
        """The facts about the key for clients outside the home network."""
        return machine.key(self.values, self.project)

    @property
    def offers(self) -> list[str]:
        """The networks at hand that auth.networks does not name."""
        named = self.values.get("LANSCRIBE_AUTH_NETWORKS", "").split(",")
        return [one for one in machine.home_networks(self.project) if one not in named]

    @property
    def host(self) -> str:
        """The address that the settings say to listen on."""
        return self.values.get("LANSCRIBE_SERVER_HOST", "0.0.0.0")

    @cached_property
    def port(self) -> PortFacts:
        """What is on the port that the settings name."""
        return machine.port(self.host, int(self.values.get("LANSCRIBE_SERVER_PORT", "8000")))

    @property
    def tls(self) -> Check:
        """Whether https is served, and with what certificate."""
        mode = self.values.get("LANSCRIBE_TLS_MODE", "auto")
        if mode == "off":
            return judge_tls(TlsFacts(mode, None), Check("tls", "ok", ""))
        number = int(self.values.get("LANSCRIBE_TLS_PORT", "8443"))
        facts = machine.port(self.host, number, is_secure=True)
        with control.running() as servers:
            owners = [one.tls for one, _ in servers if one.tls_port == number]
        is_own = mode == "own" or bool(self.values.get("LANSCRIBE_TLS_CERT"))
        if check := judge_running(facts, owners, is_own=is_own):
            return check
        port = judge_tls_port(facts, is_own=is_own)
        return judge_tls(TlsFacts(mode, machine.certificate(self.project)), port)

    @property
    def wyoming(self) -> PortFacts | None:
        """What is on the port for Home Assistant; None if Wyoming is off."""
        if self.values.get("LANSCRIBE_WYOMING_ENABLED") == "False":
            return None
        number = int(self.values.get("LANSCRIBE_WYOMING_PORT", "10300"))
        return machine.wyoming_port(self.host, number)


CHECKS: dict[str, Callable[[Examination], Check]] = {
    "python": lambda _: judge_python(sys.version_info[:3], sys.executable),
    "packages": lambda it: judge_packages(machine.packages(it.project)),
    "settings": lambda it: judge_settings(it.settings),
    "model": lambda it: judge_model(it.model_name, machine.model(it.model_name, it.project)),
    "portaudio": lambda it: judge_portaudio(
        platform.system(), it.sound, it.sound is None and machine.has_portaudio_library()
    ),
    "microphone": lambda it: judge_microphone(it.sound),
    "memory": lambda _: judge_memory(machine.memory_bytes(), machine.cores()),
    "disk": lambda it: judge_disk(machine.free_disk_bytes(it.project)),
    "gpu": lambda it: judge_gpu(machine.graphics(), it.verdict),
    "voxtral": lambda it: judge_voxtral(
        it.verdict,
        machine.vllm_packages(it.project),
        voxtral_files.fault(model_dir(it.project)),
        os.environ,
    ),
    "port": lambda it: judge_port(it.port),
    "tls": lambda it: it.tls,
    "wyoming": lambda it: judge_wyoming(it.wyoming),
    "server": lambda it: judge_server(it.port),
    "access": lambda it: judge_access(
        it.values.get("LANSCRIBE_AUTH_MODE", "lan"), it.key, it.offers
    ),
    "network": lambda it: judge_network(machine.addresses(it.project), it.host),
}
"""What is checked, in the order of the report."""


def table(checks: Sequence[Check]) -> str:
    """The report for people: a line for each check, its remedy below it."""
    width = max(len(check.name) for check in checks)
    return "\n".join(line for check in checks for line in _rows(check, width))


def as_json(checks: Sequence[Check]) -> str:
    """The report for programs."""
    report = {"ok": _is_sound(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(report, indent=2)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags for the choice of checks and the form of the report."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--only", action="append", choices=CHECKS, help="run this check only; may be repeated"
    )


def main(options: argparse.Namespace) -> int:
    """Run the checks, print the report; 1 when a check failed."""
    examination = Examination()
    checks = [CHECKS[name](examination) for name in options.only or CHECKS]
    sys.stdout.write((as_json(checks) if options.json else table(checks)) + "\n")
    return 0 if _is_sound(checks) else 1


def _is_sound(checks: Iterable[Check]) -> bool:
    return all(check.status != "fail" for check in checks)


def _is_ours(health: tuple[int, str] | None) -> bool:
    """Whether the answer to /health is lanscribe's: a JSON object with its two words."""
    try:
        answer = json.loads(health[1]) if health else None
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") in {"ok", "loading"}


def _rows(check: Check, width: int) -> list[str]:
    indent = " " * (width + 8)
    first, *rest = check.result.splitlines() or [""]
    rows = [f"{check.status:<4}  {check.name:<{width}}  {first}"]
    rows += [indent + line for line in rest]
    return [*rows, f"{indent}-> {check.remedy}"] if check.remedy else rows
