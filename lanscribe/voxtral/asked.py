"""The sizes that a person asks for in place of the planner's, and whether a card has room: pure."""

from dataclasses import dataclass

from lanscribe.voxtral.memory import GIB
from lanscribe.voxtral.plan import LONGEST_REQUEST_TOKENS, PERCENT, Plan, Profile

_LENGTH_STEP = 16
"""In tokens; a block of the KV cache has as many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Sizes in place of the planner's; 0 leaves one to it."""

    max_model_len: int = 0
    gpu_memory_utilization: float = 0.0

    @property
    def flags(self) -> list[str]:
        """vLLM's flags for them."""
        values = {
            "--max-model-len": self.max_model_len,
            "--gpu-memory-utilization": self.gpu_memory_utilization,
        }
        return [word for name, value in values.items() if value for word in (name, str(value))]


def refusal(asked: Asked, profile: Profile, plan: Plan) -> str:
    """Why what was asked cannot run on the plan's card, and what can; empty if it can.

    Also empty if not even the profile itself can run there.
    """
    total_gib, free_gib = plan.wish.gpu_gib, plan.wish.free_gib
    if not profile.on(total_gib, free_gib).fits:
        return ""
    if asked.max_model_len and not plan.fits:
        longest = _longest(profile, total_gib, free_gib)
        return (
            f"--max-model-len {asked.max_model_len} does not fit: with the {plan.wish.sessions}"
            f" sessions of the profile {profile.name} it takes"
            f" {plan.least_free_bytes / GIB:.1f} GiB{_there(plan)}; up to {longest} fits"
        )
    least, most = plan.percents
    share = round(asked.gpu_memory_utilization * PERCENT, 6)
    if share and not least <= share <= most:
        got_gib = asked.gpu_memory_utilization * plan.visible_bytes / GIB
        return (
            f"--gpu-memory-utilization {asked.gpu_memory_utilization:g} does not fit: it is"
            f" {got_gib:.1f} GiB{_there(plan)}, and the {plan.wish.sessions} sessions of the"
            f" profile {profile.name} take {plan.needed_bytes / GIB:.1f} GiB;"
            f" from {least / PERCENT:g} to {most / PERCENT:g} fits"
        )
    return ""


def _longest(profile: Profile, total_gib: float, free_gib: float | None) -> int:
    """The largest max-model-len that fits."""
    low, high = 0, LONGEST_REQUEST_TOKENS // _LENGTH_STEP
    while low < high:
        middle = (low + high + 1) // 2
        if profile.on(total_gib, free_gib, middle * _LENGTH_STEP).fits:
            low = middle
        else:
            high = middle - 1
    return low * _LENGTH_STEP


def _there(plan: Plan) -> str:
    visible = f"{plan.visible_bytes / GIB:.1f} GiB that CUDA sees"
    free_gib = plan.wish.free_gib
    return f" of the {visible}" + ("" if free_gib is None else f" ({free_gib:.1f} GiB free)")
