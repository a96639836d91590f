"""The doctor's checks of the NVIDIA card, and of vLLM and its model: pure.

Standard library only, as in doctor.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

from lanscribe.admin.check import SETUP, Check
from lanscribe.admin.machine import GraphicsFacts
from lanscribe.installation import Outcome
from lanscribe.vllm import RUST_FRONTEND
from lanscribe.voxtral.verdict import LEAST_DRIVER, Verdict

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_MISMATCH = "Driver/library version mismatch"
"""NVML's words after an update of the driver, until the machine is restarted."""


def judge_gpu(facts: GraphicsFacts, verdict: Verdict | None) -> Check:
    """The NVIDIA card: without one that can serve Voxtral, the CPU engine serves."""
    if verdict is not None:
        return Check("gpu", "warn" if verdict.remedy else "ok", verdict.result, verdict.remedy)
    if facts.nvidia_smi is not None and _MISMATCH in _words(facts.nvidia_smi):
        why = (
            "the NVIDIA driver was updated while it ran, so its library and the loaded driver have"
            " different versions; the CPU engine serves"
        )
        return Check("gpu", "warn", why, f"restart the machine, then: {SETUP}")
    if facts.nvidia_smi is not None and facts.has_nvidia_card:
        why = f"nvidia-smi fails: {facts.nvidia_smi.last_words}; the CPU engine serves"
        remedy = "reinstall the NVIDIA driver (on WSL2 in Windows), then restart the machine"
        return Check("gpu", "warn", why, remedy)
    if facts.has_nvidia_card:
        remedy = (
            f"to use it install NVIDIA's driver {LEAST_DRIVER} or newer"
            f" (in a container: start that with --gpus all), then: {SETUP}"
        )
        why = "NVIDIA card without NVIDIA's driver; the CPU engine serves"
        return Check("gpu", "ok", why, remedy)
    if (facts.system, facts.architecture) == ("Darwin", "arm64"):
        return Check("gpu", "ok", "Apple silicon; its MLX engine is not part of this version")
    return Check("gpu", "ok", "none; the CPU engine serves")


def judge_voxtral(
    verdict: Verdict | None,
    packages: Outcome | None,
    files_fault: str | None,
    environ: Mapping[str, str] = NO_VARIABLES,
) -> Check:
    """vLLM's environment and the model, if there is a card for them."""
    if packages is None and (verdict is None or not verdict.profile):
        return Check("voxtral", "ok", "not set up: no card for it")
    if packages is None:
        return Check("voxtral", "warn", "not set up yet; the CPU engine serves", SETUP)
    if packages.status != 0:
        faults = packages.output.strip().splitlines() or [packages.last_words]
        return Check("voxtral", "warn", faults[0], f"{SETUP}, which rebuilds .venv-vllm")
    if files_fault is not None:
        return Check("voxtral", "warn", files_fault, SETUP)
    if environ.get(RUST_FRONTEND, "0") not in {"", "0"}:
        why = (
            f"the environment has {RUST_FRONTEND}={environ[RUST_FRONTEND]}, and that frontend has"
            " no /v1/realtime; serve.sh starts vLLM with 0"
        )
        return Check("voxtral", "warn", why, f"unset {RUST_FRONTEND}, for a vLLM started by hand")
    return Check("voxtral", "ok", "vLLM and the model are in place")


def _words(outcome: Outcome) -> str:
    return outcome.errors + outcome.output
