"""Sends one utterance to a server that may still be loading, to warm it up.

    python -m bench.warmup [--url ws://127.0.0.1:8000] [--protocol vllm|yap|mistral] [--wait-s 600]

Prints the wait, the speed of the text, and the text. Exits with 1 if it failed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from bench.talk import (
    TROUBLE,
    Outcome,
    Refused,
    Target,
    add_arguments,
    read_sound,
    target,
    transcribe,
)

_LOADING = ("engine_unavailable", "503 engine_unavailable")
_PAUSE_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Warm the server up; return the exit status."""
    options = _options(arguments)
    started_s = time.monotonic()
    try:
        outcome = asyncio.run(_first(target(options), options))
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    except TROUBLE as error:
        print(f"{options.url}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    waited_s = time.monotonic() - started_s - outcome.end_s
    print(f"waited {waited_s:.1f} s; first text after {outcome.first_text_s:.2f} s,", end=" ")
    print(f"the end after {outcome.end_s:.2f} s\n{outcome.text}")
    return 0


async def _first(to: Target, options: argparse.Namespace) -> Outcome:
    """Send an utterance, and retry while the server loads; return the first outcome."""
    samples = read_sound(options.audio)
    until_s = time.monotonic() + options.wait_s
    while True:
        try:
            async with asyncio.timeout(options.timeout_s):
                return await transcribe(to, samples)
        except (Refused, ConnectionRefusedError) as error:
            is_loading = not isinstance(error, Refused) or str(error) in _LOADING
            if not is_loading or time.monotonic() > until_s:
                raise
        await asyncio.sleep(_PAUSE_S)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--wait-s", type=float, default=600.0, help="for a server that is loading")
    add_arguments(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
