"""Servers that crash, stop and start anew under live clients: each word comes once."""

from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
import soundfile

from lanscribe.engines.fake import spoken
from tests.clients.conftest import StartClient
from tests.clients.crashing import busy_machine, listeners, trouble
from tests.clients.test_file_client import refused_port
from tests.servers import ServerProcess, StartServer

NUMBERS_PER_END = 45
"""Enough for a client to come back from one end of a server before the next."""
BURNING = 3
"""Programs on a busy machine that never pause."""


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """One that keeps its port when it starts anew.

    It keeps sessions for long, so that no client loses its patience where a busy machine gives it
    no word between one end and the next.
    """
    flags = ("--port", str(refused_port()))
    return start_server("fake", *flags, LANSCRIBE_RESUME_KEEP_S="3600")


def assert_whole(
    start_client: StartClient, server: ServerProcess, wav: Path, ways: list[str], seed: int
) -> None:
    """Both clients, in terminals and pipes, show each word once, however often the server goes."""
    numbers = list(range(1_001, 1_061 + NUMBERS_PER_END * len(ways)))
    soundfile.write(wav, spoken(numbers), 16_000, subtype="PCM_16")
    heard = listeners(start_client, server, wav)
    for one in heard:
        one.program.out.wait_for(str(numbers[5]))
    trouble(server, heard, ways, Random(seed), str(numbers[-1]))
    for one in heard:
        one.finish(str(numbers[-1]))
        assert one.text().split() == [*map(str, numbers)], f"seed {seed}, {ways}, {one.name}"


@pytest.mark.parametrize(("seed", "ways"), [(1, ["kill"] * 3), (2, ["restart", "stop", "restart"])])
def test_whoever_listens_reads_each_word_once(
    start_client: StartClient, server: ServerProcess, tmp_path: Path, seed: int, ways: list[str]
) -> None:
    assert_whole(start_client, server, tmp_path / "numbers.wav", ways, seed)


@pytest.mark.long
@pytest.mark.parametrize("way", ["kill", "restart", "stop"])
@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "busy"])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_listens_for_long_reads_each_word_once(
    start_client: StartClient,
    server: ServerProcess,
    tmp_path: Path,
    seed: int,
    is_busy: bool,
    way: str,
) -> None:
    with ExitStack() as meanwhile:
        if is_busy:
            meanwhile.enter_context(busy_machine(BURNING))
        assert_whole(start_client, server, tmp_path / "numbers.wav", [way] * 13, seed)
