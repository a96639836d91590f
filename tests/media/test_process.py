"""A recording that is read in a process: whatever becomes of that, the server goes on."""

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.errors import LanscribeError
from lanscribe.media import process, worker
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.media.process import opened
from lanscribe.speech.audio import Samples
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S

SPOKEN = spoken(range(1, 1500))
"""More than fits into the pipe, so that whoever reads a little finds a process that waits."""
WAV = by_libsndfile(SPOKEN, "WAV")
PATIENCE_S = 4.0


@contextmanager
def stored(data: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file


@contextmanager
def stalled() -> Iterator[BinaryIO]:
    """A recording that never comes."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb"):
        yield file


def workers() -> list[int]:
    """The processes that decode for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if parent == os.getpid() and ("lanscribe.media" in command or "tests.media" in command):
            found.append(int(path.name))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process is left by a test, and no pipe: an unclosed one is a warning, and so an error."""
    yield
    gc.collect()
    assert not workers()


def sound_of(pieces: Sequence[Piece]) -> Samples:
    return np.concatenate([one for one in pieces if not isinstance(one, About | Missing)])


async def read(file: BinaryIO, track: str = "", patience_s: float = 60.0) -> list[Piece]:
    async with opened(file, track, patience_s=patience_s) as pieces:
        return [piece async for piece in pieces]


def test_what_comes_out_is_what_the_reader_reads() -> None:
    with stored(WAV) as file:
        about, *pieces = asyncio.run(read(file))
    assert isinstance(about, About)
    assert np.array_equal(sound_of(pieces), SPOKEN)


def test_many_at_a_time() -> None:
    async def read_all(files: list[BinaryIO]) -> list[list[Piece]]:
        return await asyncio.gather(*(read(file) for file in files))

    with ExitStack() as stack:
        files = [stack.enter_context(stored(by_libsndfile(SPOKEN[n:], "WAV"))) for n in range(6)]
        for n, pieces in enumerate(asyncio.run(read_all(files))):
            assert np.array_equal(sound_of(pieces), SPOKEN[n:])


def test_what_is_no_recording_is_told_by_its_reason() -> None:
    with stored(b"Dear diary") as file, pytest.raises(Unreadable, match="Dear diary"):
        asyncio.run(read(file))


def test_a_track_that_is_not_there_is_told() -> None:
    with stored(WAV) as file, pytest.raises(NoSuchTrack, match="7"):
        asyncio.run(read(file, "7"))


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")]
)
def test_a_process_that_is_killed_before_its_sound(number: signal.Signals, name: str) -> None:
    async def converse(file: BinaryIO) -> None:
        async with opened(file) as pieces:
            (pid,) = workers()
            os.kill(pid, number)
            await anext(pieces)

    with stalled() as file, pytest.raises(Unreadable, match=rf"the decoder crashed \({name}\)"):
        asyncio.run(converse(file))


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")]
)
def test_a_process_that_is_killed_after_some_sound(number: signal.Signals, name: str) -> None:
    async def converse(file: BinaryIO) -> list[Piece]:
        async with opened(file) as pieces:
            first = [await anext(pieces), await anext(pieces)]
            (pid,) = workers()
            os.kill(pid, number)
            return first + [piece async for piece in pieces]

    with stored(WAV) as file:
        *pieces, last = asyncio.run(converse(file))
    sound = sound_of(pieces)
    assert 0 < len(sound) < len(SPOKEN)
    assert np.array_equal(sound, SPOKEN[: len(sound)])
    assert last == Missing(len(sound) / 16_000, None, "damaged", f"the decoder crashed ({name})")


def test_a_process_that_hangs_is_killed() -> None:
    with stalled() as file, pytest.raises(Unreadable, match="the decoder hung: nothing came"):
        asyncio.run(read(file, patience_s=0.2))


def test_a_process_that_hangs_after_some_sound_is_killed() -> None:
    async def converse(file: BinaryIO) -> list[Piece]:
        async with opened(file, patience_s=PATIENCE_S) as pieces:
            first = [await anext(pieces), await anext(pieces)]
            (pid,) = workers()
            os.kill(pid, signal.SIGSTOP)
            return first + [piece async for piece in pieces]

    with stored(WAV) as file:
        *pieces, last = asyncio.run(converse(file))
    assert isinstance(last, Missing)
    assert last.start_s == len(sound_of(pieces)) / 16_000
    assert last.why.startswith("the decoder hung")


WHY = {
    "crash": "the decoder crashed (SIGSEGV)",
    "flood": f"the decoder needs more than {worker.MOST_MEMORY_BYTES // 2**20} MiB of memory",
    "kill": "the decoder crashed (SIGKILL)",
}


@pytest.mark.parametrize("fault", WHY)
def test_a_fault_of_the_libraries(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", fault, "after"))
    with stored(WAV) as file:
        _, second, last = asyncio.run(read(file))
    assert isinstance(second, np.ndarray)
    assert last == Missing(1.0, None, "damaged", WHY[fault])
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", fault, "before"))
    with stored(WAV) as file, pytest.raises(Unreadable) as caught:
        asyncio.run(read(file))
    assert str(caught.value) == WHY[fault]


@pytest.mark.parametrize(
    ("fault", "said"), [("defect", "ZeroDivisionError"), ("exit", "a decoder ended with status 3")]
)
def test_a_defect_of_the_reader_is_in_the_log(
    fault: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", fault, "after"))
    with stored(WAV) as file:
        *_, last = asyncio.run(read(file))
    assert isinstance(last, Missing)
    assert (last.start_s, last.why) == (1.0, "a defect of the server; its log says more")
    assert said in caplog.text
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", fault, "before"))
    with stored(WAV) as file, pytest.raises(LanscribeError) as caught:
        asyncio.run(read(file))
    assert caught.value.code == "internal"


def test_what_libraries_print_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "print", "after"))
    with stored(WAV) as file:
        pieces = asyncio.run(read(file))
    assert len(sound_of(pieces)) == 32_000
    assert capfd.readouterr() == ("", "")


def test_the_signals_that_stop_a_server_do_not_stop_its_decoders() -> None:
    async def converse(file: BinaryIO) -> list[Piece]:
        async with opened(file) as pieces:
            first = [await anext(pieces)]
            (pid,) = workers()
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
            assert os.getpgid(pid) != os.getpgid(0)
            niceness = os.getpriority(os.PRIO_PROCESS, 0)
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, niceness + 5)
            return first + [piece async for piece in pieces]

    with stored(WAV) as file:
        assert np.array_equal(sound_of(asyncio.run(converse(file))), SPOKEN)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
def test_a_cancellation_at_any_time_leaves_no_process(turns: int) -> None:
    async def converse(file: BinaryIO) -> None:
        reading = asyncio.create_task(read(file))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert not workers()

    with stalled() as file:
        asyncio.run(converse(file))


def test_whoever_leaves_in_the_middle_leaves_no_process() -> None:
    async def converse(file: BinaryIO) -> None:
        async with opened(file) as pieces:
            await anext(pieces)
            following = asyncio.ensure_future(anext(pieces))
            await asyncio.sleep(0)
            following.cancel()
            await asyncio.wait([following])
        assert not workers()

    with stored(WAV) as file:
        asyncio.run(converse(file))


ORPHAN = """
import asyncio, sys
from lanscribe.media import process
process.COMMAND = ("-P", "-m", "tests.media.faults", "hang", "after")
async def converse():
    async with process.opened(sys.stdin.buffer) as pieces:
        await anext(pieces), await anext(pieces)
        (pid,) = open("/proc/self/task/%d/children" % __import__("os").getpid()).read().split()
        print(pid, flush=True)
        await anext(pieces)
asyncio.run(converse())
"""


def test_a_server_that_is_killed_leaves_no_process() -> None:
    """Not even one that hangs, and so writes nothing to a pipe that nobody reads."""
    command = [sys.executable, "-c", ORPHAN]
    with (
        stored(WAV) as file,
        subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, cwd=PROJECT_DIR) as server,
    ):
        assert server.stdout is not None
        worker_pid = os.pidfd_open(int(server.stdout.readline()))
        try:
            server.kill()
            ended, _, _ = select.select([worker_pid], [], [], DEADLINE_S)
            assert ended
        finally:
            os.close(worker_pid)
