"""Many utterances at once: a running server's speed, and whether all texts are the same.

    python -m bench.load --requests 32 --concurrency 32 [--url ws://127.0.0.1:8000]
                         [--protocol vllm|yap|mistral] [--audio FILE] [--live]

All send the same audio, so all texts must be the same. A server refuses the requests that the
machine cannot handle in real time; these are counted, but not part of the times. Exits with 1 if
a request failed or the texts differ.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.talk import TROUBLE, Outcome, Refused, Target, add_arguments, read_sound, transcribe
from bench.talk import target as target_of
from lanscribe.speech.audio import Samples, duration_s

MAX_REQUESTS = 10_000
MAX_CONCURRENCY = 1_000


@dataclass
class Result:
    """The results of all requests."""

    outcomes: list[Outcome] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """The number of failures, by reason."""
    wall_s: float = 0.0

    @property
    def texts(self) -> Counter[str]:
        """The number of requests, by text."""
        return Counter(outcome.text for outcome in self.outcomes)

    @property
    def is_right(self) -> bool:
        """Whether all succeeded, with the same text."""
        return not self.failures and len(self.texts) == 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load and print the table; return the exit status."""
    options = _options(arguments)
    samples = read_sound(options.audio)
    to = target_of(options)
    result = asyncio.run(
        run(to, samples, options.requests, options.concurrency, timeout_s=options.timeout_s)
    )
    print(
        f"{options.requests} utterances of {duration_s(len(samples)):.1f} s, {options.concurrency}"
        f" at once, over {options.protocol} at {to.url}\n"
    )
    print(table(result, duration_s(len(samples))))
    return 0 if result.is_right else 1


async def run(
    to: Target, samples: Samples, requests: int, concurrency: int, *, timeout_s: float
) -> Result:
    """Send the same utterance `requests` times, `concurrency` at once."""
    result = Result()
    turns = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with turns:
            try:
                async with asyncio.timeout(timeout_s):
                    result.outcomes.append(await transcribe(to, samples))
            except Refused as error:
                result.failures[str(error)] += 1
            except TROUBLE as error:
                result.failures[f"{type(error).__name__}: {error}"] += 1

    started_s = time.monotonic()
    await asyncio.gather(*(one() for _ in range(requests)))
    result.wall_s = time.monotonic() - started_s
    return result


def table(result: Result, audio_s: float) -> str:
    """The figures, as Markdown."""
    lines = ["| seconds | p50 | p95 |", "| --- | --- | --- |"]
    if result.outcomes:
        lines += [
            _row("from the first audio to the first text", result, lambda one: one.first_text_s),
            _row("from the first audio to the end", result, lambda one: one.end_s),
            _row("from the last audio to the end", result, lambda one: one.after_audio_s),
        ]
    count = len(result.outcomes)
    lines += [
        "",
        f"throughput: {count / result.wall_s:.2f} utterances and"
        f" {count * audio_s / result.wall_s:.1f} s of audio per second",
        f"texts: {_agreement(result.texts)}",
        *(f"failed: {number} times {reason}" for reason, number in result.failures.items()),
    ]
    return "\n".join(lines)


def _row(name: str, result: Result, value: Callable[[Outcome], float]) -> str:
    p50, p95 = percentiles([value(outcome) for outcome in result.outcomes])
    return f"| {name} | {p50:.2f} | {p95:.2f} |"


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th percentile, interpolated between the values."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _agreement(texts: Counter[str]) -> str:
    if len(texts) <= 1:
        return f"all {texts.total()} agree"
    heard = [f"  {number} x {text!r}" for text, number in texts.items()]
    return "\n".join([f"{len(texts)} different ones", *heard])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--requests", type=_up_to(MAX_REQUESTS), default=32)
    parser.add_argument("--concurrency", type=_up_to(MAX_CONCURRENCY), default=32)
    add_arguments(parser)
    return parser.parse_args(arguments)


def _up_to(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"got {text}; expected 1 to {most}")
        return int(text)

    return count


if __name__ == "__main__":
    sys.exit(main())
