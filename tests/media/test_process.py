"""A recording that is read in a process: whatever becomes of that, the server goes on."""

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.errors import LanscribeError
from lanscribe.media import process, worker
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.media.process import Decoders
from lanscribe.speech.audio import Samples
from tests.servers import forkers, workers
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S

SPOKEN = spoken(range(1, 1500))
"""More than fits into the pipe, so that whoever reads a little finds a process that waits."""
WAV = by_libsndfile(SPOKEN, "WAV")
PATIENCE_S = 4.0
FORKLESS = ("-P", "-m", "tests.media.faults", "forkless", "before")
"""A forker that cannot fork."""


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


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process is left by a test, and no socket: an unclosed one is a warning, which fails."""
    before = forkers()
    yield
    gc.collect()
    assert not workers()
    assert forkers() == before


@asynccontextmanager
async def closing(decoders: Decoders) -> AsyncIterator[Decoders]:
    try:
        yield decoders
    finally:
        decoders.close()


@asynccontextmanager
async def opened(
    file: BinaryIO, track: str = "", patience_s: float = DEADLINE_S
) -> AsyncIterator[AsyncIterator[Piece]]:
    """A recording of a server that has no other."""
    async with (
        closing(Decoders()) as decoders,
        decoders.opened(file, track, patience_s=patience_s) as pieces,
    ):
        yield pieces


async def running(find: Callable[[], list[int]]) -> int:
    """The process, once there is one that is found."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := find()):
            await asyncio.sleep(0.01)
    (pid,) = found
    return pid


def forker_beside(others: list[int]) -> int:
    """The only forker that is not among others."""
    (pid,) = set(forkers()) - set(others)
    return pid


def count(pid: int, what: str) -> int:
    """How many entries a folder of a process in /proc has."""
    return len(list(Path(f"/proc/{pid}/{what}").iterdir()))


@contextmanager
def ending(pid: int) -> Iterator[None]:
    """A process that has ended when this does, or soon after."""
    descriptor = os.pidfd_open(pid)
    try:
        yield
        assert select.select([descriptor], [], [], DEADLINE_S)[0]
    finally:
        os.close(descriptor)


def sound_of(pieces: Sequence[Piece]) -> Samples:
    return np.concatenate([one for one in pieces if not isinstance(one, About | Missing)])


async def read(file: BinaryIO, track: str = "") -> list[Piece]:
    async with opened(file, track) as pieces:
        return [piece async for piece in pieces]


async def read_by(decoders: Decoders, file: BinaryIO) -> list[Piece]:
    async with decoders.opened(file) as pieces:
        return [piece async for piece in pieces]


def test_what_comes_out_is_what_the_reader_reads() -> None:
    with stored(WAV) as file:
        about, *pieces = asyncio.run(read(file))
    assert isinstance(about, About)
    assert np.array_equal(sound_of(pieces), SPOKEN)


def test_many_at_a_time() -> None:
    async def read_all(files: list[BinaryIO]) -> list[list[Piece]]:
        async with closing(Decoders()) as decoders:
            return await asyncio.gather(*(read_by(decoders, file) for file in files))

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
            pid = await running(workers)
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
            pid = await running(workers)
            os.kill(pid, number)
            return first + [piece async for piece in pieces]

    with stored(WAV) as file:
        *pieces, last = asyncio.run(converse(file))
    sound = sound_of(pieces)
    assert 0 < len(sound) < len(SPOKEN)
    assert np.array_equal(sound, SPOKEN[: len(sound)])
    assert last == Missing(len(sound) / 16_000, None, "damaged", f"the decoder crashed ({name})")


def test_a_process_that_hangs_is_killed() -> None:
    async def converse(file: BinaryIO) -> None:
        async with opened(file, patience_s=0.2) as pieces:
            await running(workers)
            await anext(pieces)

    with stalled() as file, pytest.raises(Unreadable, match="the decoder hung: nothing came"):
        asyncio.run(converse(file))


def test_a_process_that_hangs_after_some_sound_is_killed() -> None:
    async def converse(file: BinaryIO) -> list[Piece]:
        async with opened(file, patience_s=PATIENCE_S) as pieces:
            first = [await anext(pieces), await anext(pieces)]
            pid = await running(workers)
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
            pid = await running(workers)
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
            assert os.getpgid(pid) != os.getpgid(0)
            niceness = os.getpriority(os.PRIO_PROCESS, 0)
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, niceness + 5)
            return first + [piece async for piece in pieces]

    with stored(WAV) as file:
        assert np.array_equal(sound_of(asyncio.run(converse(file))), SPOKEN)


@pytest.mark.parametrize("is_warm", [True, False])
@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
def test_a_cancellation_at_any_time_leaves_no_process(turns: int, is_warm: bool) -> None:
    async def converse(file: BinaryIO) -> None:
        async with closing(Decoders()) as decoders:
            if is_warm:
                with stored(WAV) as other:
                    await read_by(decoders, other)
            reading = asyncio.create_task(read_by(decoders, file))
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
        async with closing(Decoders()) as decoders:
            async with decoders.opened(file) as pieces:
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
from tests.servers import forkers, workers
process.COMMAND = ("-P", "-m", "tests.media.faults", "hang", "after")
async def converse():
    async with process.Decoders().opened(sys.stdin.buffer) as pieces:
        await anext(pieces), await anext(pieces)
        print(*forkers(), *workers(), flush=True)
        await anext(pieces)
asyncio.run(converse())
"""


def test_a_server_that_is_killed_leaves_no_process() -> None:
    """Not even one that hangs, and so writes nothing to a socket that nobody reads."""
    command = [sys.executable, "-c", ORPHAN]
    with (
        stored(WAV) as file,
        subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, cwd=PROJECT_DIR) as server,
    ):
        assert server.stdout is not None
        forker, worker = map(int, server.stdout.readline().split())
        with ending(forker), ending(worker):
            server.kill()


def test_a_server_without_recordings_has_no_process() -> None:
    before = forkers()
    decoders = Decoders()
    assert forkers() == before
    decoders.close()


def test_the_forker_has_one_thread_and_outlives_the_signals_that_stop_a_server() -> None:
    before = forkers()

    async def converse(file: BinaryIO) -> list[Piece]:
        async with closing(Decoders()) as decoders:
            await read_by(decoders, file)
            pid = forker_beside(before)
            assert os.getsid(pid) == pid
            assert count(pid, "task") == 1
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
            pieces = await read_by(decoders, file)
            assert forker_beside(before) == pid
            return pieces

    with stored(WAV) as file:
        assert np.array_equal(sound_of(asyncio.run(converse(file))), SPOKEN)


def test_no_descriptor_is_left() -> None:
    before = forkers()

    def counts() -> list[int]:
        pids = (os.getpid(), forker_beside(before))
        return [count(pid, "fd") for pid in pids]

    async def converse(file: BinaryIO, long: BinaryIO) -> None:
        async with closing(Decoders()) as decoders:
            await read_by(decoders, file)
            at_first = counts()
            for _ in range(25):
                await read_by(decoders, file)
                async with decoders.opened(long) as pieces:
                    await anext(pieces)
            assert counts() == at_first

    with stored(by_libsndfile(SPOKEN[:16_000], "WAV")) as file, stored(WAV) as long:
        asyncio.run(converse(file, long))


def test_a_recording_does_not_wait_for_the_end_of_one_that_began_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def converse(file: BinaryIO, stalling: BinaryIO) -> list[Piece]:
        async with closing(Decoders()) as decoders, AsyncExitStack() as earlier:
            await earlier.enter_async_context(decoders.opened(stalling))
            async with decoders.opened(file) as pieces:
                first = [await anext(pieces), await anext(pieces)]
                await earlier.aclose()
                assert len(workers()) == 1
                return first + [piece async for piece in pieces]

    with stored(WAV) as file, stalled() as stalling:
        assert np.array_equal(sound_of(asyncio.run(converse(file, stalling))), SPOKEN)
    assert not caplog.text


def test_a_forker_that_is_killed_between_two_recordings_is_replaced() -> None:
    before = forkers()

    async def converse(file: BinaryIO) -> list[Piece]:
        async with closing(Decoders()) as decoders:
            await read_by(decoders, file)
            first = forker_beside(before)
            with ending(first):
                os.kill(first, signal.SIGKILL)
            pieces = await read_by(decoders, file)
            assert forker_beside(before) != first
            return pieces

    with stored(WAV) as file:
        assert np.array_equal(sound_of(asyncio.run(converse(file))), SPOKEN)


def test_a_forker_that_is_killed_loses_what_it_decodes_and_is_replaced() -> None:
    before = forkers()

    async def converse(whole: BinaryIO, stalling: BinaryIO) -> tuple[list[Piece], list[Piece]]:
        async with closing(Decoders()) as decoders:
            async with decoders.opened(stalling) as nothing, decoders.opened(whole) as pieces:
                first = [await anext(pieces), await anext(pieces)]
                one, other = workers()
                with ending(one), ending(other):
                    os.kill(forker_beside(before), signal.SIGKILL)
                with pytest.raises(Unreadable, match=r"the decoder crashed \(SIGKILL\)"):
                    await anext(nothing)
                lost = first + [piece async for piece in pieces]
            return lost, await read_by(decoders, whole)

    with stored(WAV) as whole, stalled() as stalling:
        (*pieces, last), again = asyncio.run(converse(whole, stalling))
    sound = sound_of(pieces)
    assert np.array_equal(sound, SPOKEN[: len(sound)])
    assert last == Missing(len(sound) / 16_000, None, "damaged", "the decoder crashed (SIGKILL)")
    assert np.array_equal(sound_of(again), SPOKEN)


def test_a_forker_that_hangs_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "END_S", 0.2)
    before = forkers()

    async def converse(whole: BinaryIO, stalling: BinaryIO) -> list[Piece]:
        async with closing(Decoders()) as decoders:
            await read_by(decoders, whole)
            first = forker_beside(before)
            with ending(first):
                async with decoders.opened(stalling):
                    with ending(await running(workers)):
                        os.kill(first, signal.SIGSTOP)
                        reading = asyncio.create_task(read_by(decoders, stalling))
                        await asyncio.sleep(0)
                        reading.cancel()
                        await asyncio.wait([reading])
            return await read_by(decoders, whole)

    with stored(WAV) as whole, stalled() as stalling:
        assert np.array_equal(sound_of(asyncio.run(converse(whole, stalling))), SPOKEN)
    assert "the process that forks decoders hangs" in caplog.text


@pytest.mark.parametrize("command", [("-c", "raise SystemExit(3)"), FORKLESS])
def test_what_cannot_start_is_in_the_log(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "COMMAND", command)
    with stored(WAV) as file, pytest.raises(LanscribeError) as caught:
        asyncio.run(read(file))
    assert caught.value.code == "internal"
    assert "a decoder ended with status" in caplog.text


def test_a_server_that_ends_loses_what_it_decodes() -> None:
    async def converse(file: BinaryIO, stalling: BinaryIO) -> None:
        decoders = Decoders()
        async with decoders.opened(stalling) as pieces:
            with ending(await running(workers)):
                decoders.close()
            with pytest.raises(Unreadable, match="the decoder crashed"):
                await anext(pieces)
        with pytest.raises(LanscribeError) as caught:
            await read_by(decoders, file)
        assert caught.value.code == "server_stopping"

    with stored(WAV) as file, stalled() as stalling:
        asyncio.run(converse(file, stalling))
