"""Ends recordings of the microphone client by faults of many kinds, and looks whether they go on.

Run as a program, on a sound card of one's own: PortAudio looks for devices once in a process.
"""

import asyncio
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stream_microphone as client

PLACES: list[tuple[type, str, int]] = [
    (client.Screen, "tell", 1),
    (client.Screen, "start", 1),
    (client.Screen, "show", 30),
    (client.Microphone, "take", 30),
    (client.Talk, "run", 1),
    (client.Talk, "_converse", 1),
]
"""Methods, and how often each is called at least while the server says nothing."""
FAULTS: list[Callable[[], BaseException]] = [
    lambda: client.Trouble("it does not pass"),
    lambda: client.OutputTrouble("No space left on device"),
    lambda: BrokenPipeError(32, "Broken pipe"),
    lambda: ValueError("a mistake"),
    KeyboardInterrupt,
]


@contextmanager
def fault(owner: type, name: str, error: BaseException, calls_before: int) -> Iterator[None]:
    """Have a method raise `error` after so many calls that go well."""
    real, calls = getattr(owner, name), 0

    def failing(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            raise error
        return real(*arguments, **more)

    setattr(owner, name, failing)
    try:
        yield
    finally:
        setattr(owner, name, real)


def remember_streams(sd: Any) -> list[Any]:
    """A list that each stream comes into when it is started, so that it lives on, closed or not."""
    started, start = list[Any](), sd.InputStream.start

    def remembered(stream: Any) -> None:
        started.append(stream)
        start(stream)

    sd.InputStream.start = remembered
    return started


def listen_and_fail(seed: int, url: str) -> str:
    """Record until something fails; what it was, and where."""
    dice = random.Random(seed)
    (owner, name, most_calls), error = dice.choice(PLACES), dice.choice(FAULTS)()
    calls = dice.randrange(most_calls)
    options = client.parse_options(["--url", url, "--model", "any"])
    screen = client.Screen(None, "txt", None)
    with fault(owner, name, error, calls):
        try:
            asyncio.run(client.listen(options, screen))
        except BaseException as ended:  # noqa: BLE001
            return f"{ended!r} in {owner.__name__}.{name} after {calls} calls"
    return "nothing"


def main() -> None:
    """Say of each seed whether the sound card still records after the end, and after which."""
    client.TICK_S = 0.001
    started = remember_streams(client.sounddevice())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "{}:{}".format(*silent.getsockname())
        for seed in range(int(sys.argv[1])):
            how = listen_and_fail(seed, url)
            is_closed = len(started) == 1 and all(stream.closed for stream in started)
            sys.stderr.write(f"seed {seed}: {'closed' if is_closed else 'OPEN'} after {how}\n")
            started.clear()


if __name__ == "__main__":
    main()
