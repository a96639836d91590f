"""Prints a plan of lanscribe.voxtral.plan:

    bash serve.sh plan --gpu-memory 12 --sessions 4 [--quantization nf4|fp8|bf16]
                       [--minutes 5] [--free GIB] [--delay MS] [--json]

Exit status 0, or 1 if the plan does not fit; then the last lines list plans that fit.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence

from lanscribe.voxtral.delay import DEFAULT_DELAY_MS, DELAYS_MS
from lanscribe.voxtral.memory import GIB, QUANTIZATIONS
from lanscribe.voxtral.plan import (
    LEAST_SPARE_BYTES,
    PERCENT,
    VISIBLE_SHARE,
    Line,
    Plan,
    Wish,
    alternatives,
    work_out,
)
from lanscribe.voxtral.steps import STEP_MS


def table(plan: Plan) -> str:
    """The budget as a table for people."""
    visible = Line("memory that CUDA sees", plan.visible_bytes, f"{VISIBLE_SHARE:.0%} of the card")
    share = Line("vLLM's share", plan.percent * plan.visible_bytes // PERCENT, f"{plan.percent} %")
    spare = Line("to spare", plan.spare_bytes, "becomes KV cache too")
    rows = [
        f"{plan.wish}",
        *map(_row, (visible, *plan.outside)),
        _row(share),
        *map(_row, (*plan.inside, spare)),
    ]
    return "\n".join([*rows, "", *(_verdict(plan))])


def _row(line: Line) -> str:
    return f"{line.size_bytes / GIB:8.2f} GiB  {line.name:<22} {line.note}".rstrip()


def _verdict(plan: Plan) -> list[str]:
    if not plan.fits:
        missing_bytes = LEAST_SPARE_BYTES - plan.spare_bytes
        least = f"{LEAST_SPARE_BYTES / GIB:g} GiB must stay to spare"
        return [
            f"does not fit: {missing_bytes / GIB:.2f} GiB are missing ({least}). This fits:",
            *(f"  {wish}" for wish in alternatives(plan.wish)),
        ]
    options = [f"  {name}: {value}" for name, value in plan.options.items()]
    speed = (
        f"speed, estimated: a step takes up to {plan.step_ms} ms when all sessions are at their"
        f" longest; the limit is {STEP_MS} ms"
    )
    if plan.step_ms > STEP_MS:
        speed += "; sessions lag then: plan fewer minutes or sessions"
    return ["fits, with these options of vLLM:", *options, speed]


def as_json(plan: Plan) -> str:
    """The budget as JSON for programs."""

    def sizes(lines: Sequence[Line]) -> dict[str, int]:
        return {line.name: line.size_bytes for line in lines}

    report = {
        "wish": str(plan.wish),
        "fits": plan.fits,
        "visible_bytes": plan.visible_bytes,
        "outside_bytes": sizes(plan.outside),
        "inside_bytes": sizes(plan.inside),
        "spare_bytes": plan.spare_bytes,
        "step_ms": plan.step_ms,
        "options": plan.options if plan.fits else {},
        "alternatives": [] if plan.fits else [str(wish) for wish in alternatives(plan.wish)],
    }
    return json.dumps(report, indent=2)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the card's memory and for what it must hold."""
    parser.add_argument(
        "--gpu-memory", type=_between(1, 1024), required=True, metavar="GIB", help="of the card"
    )
    parser.add_argument(
        "--sessions", type=int, choices=range(1, 257), default=4, metavar="N", help="at once"
    )
    parser.add_argument("--quantization", choices=QUANTIZATIONS, default="nf4")
    parser.add_argument(
        "--minutes", type=_between(0.5, 174), default=5.0, help="of audio in an engine request"
    )
    parser.add_argument("--free", type=_between(0, 1024), metavar="GIB", help="of it, now")
    parser.add_argument(
        "--delay", type=int, choices=DELAYS_MS, default=DEFAULT_DELAY_MS, metavar="MS"
    )
    parser.add_argument("--json", action="store_true", help="print for programs")


def main(options: argparse.Namespace) -> int:
    """Print the plan for these flags; return 1 if it does not fit."""
    wish = Wish(
        gpu_gib=options.gpu_memory,
        sessions=options.sessions,
        quantization=options.quantization,
        minutes=options.minutes,
        free_gib=options.free,
        delay_ms=options.delay,
    )
    plan = work_out(wish)
    sys.stdout.write((as_json(plan) if options.json else table(plan)) + "\n")
    return 0 if plan.fits else 1


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:g}")
        return value

    return number
