"""vLLM's supervisor, with a program that stands in for vLLM."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.errors import EngineUnavailable
from lanscribe.vllm.process import (
    Launch,
    Serving,
    VllmProcess,
    Watch,
    ask,
    watch_elsewhere,
)
from lanscribe.vllm.restarts import RestartSchedule
from tests.support import DEADLINE_S
from tests.vllm.real.server import free_port

SERVING = Serving("standin", 2048)
NO_GPU = "RuntimeError: No CUDA GPUs are available"


class Reports:
    """What the supervisor told, as it tells it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Serving | str] = asyncio.Queue()

    def __call__(self, state: Serving | str) -> None:
        self._queue.put_nowait(state)

    async def until(self, wanted: Callable[[Serving | str], bool]) -> list[Serving | str]:
        """The reports up to the first that is wanted."""
        seen = [await self._queue.get()]
        while not wanted(seen[-1]):
            seen.append(await self._queue.get())
        return seen

    async def until_serving(self) -> list[Serving | str]:
        return await self.until(lambda state: isinstance(state, Serving))

    async def until_said(self, words: str) -> str:
        return str((await self.until(lambda state: words in str(state)))[-1])


def launch(port: int, *flags: str, log_file: Path | None = None, **watch: float) -> Launch:
    return Launch(
        command=[sys.executable, "-m", "tests.vllm.standin_program", str(port), *flags],
        environment=os.environ,
        folder=PROJECT_DIR,
        watch=Watch(f"http://127.0.0.1:{port}", "", **{"poll_s": 0.01, **watch}),
        log_file=log_file,
        stop_timeout_s=0.2 if "--stubborn" in flags else 30,
    )


def supervise(
    start: Launch,
    scenario: Callable[[Reports, "asyncio.Task[None]"], Awaitable[None]],
    most_failures: int = 3,
) -> None:
    """Run the supervisor while the scenario runs, then end it."""

    async def main() -> None:
        reports = Reports()
        schedule = RestartSchedule(most_failures=most_failures, first_wait_s=0.01)
        running = asyncio.create_task(VllmProcess(start, reports, schedule).run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scenario(reports, running)
        finally:
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(main())


def await_end(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], DEADLINE_S)[0], f"{pid} lives"
        finally:
            os.close(descriptor)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_tells_how_far_it_is_and_then_what_it_serves(tmp_path: Path) -> None:
    says = [
        "(EngineCore pid=1) INFO 11-21 [x.py:1] Starting to load model /m...",
        "Loading safetensors checkpoint shards: 100% Completed | 1/1",
    ]
    flags = [part for line in says for part in ("--say", line)]
    log_file = tmp_path / "logs" / "vllm.log"

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        *before, serving = await reports.until_serving()
        assert serving == SERVING
        assert before[0] == "vLLM is starting"
        assert before[-1] == "vLLM is starting: loading the weights, 100 %"

    supervise(launch(free_port(), *flags, log_file=log_file), scenario)
    assert log_file.read_text(encoding="utf-8").splitlines()[:2] == says


def test_the_log_is_bounded(tmp_path: Path) -> None:
    log_file = tmp_path / "vllm.log"
    flags = [part for number in range(300) for part in ("--say", f"{number:0100}")]

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        await reports.until_serving()

    start = launch(free_port(), *flags, log_file=log_file)
    bounded = Launch(
        **{
            **{name: getattr(start, name) for name in start.__dataclass_fields__},
            "log_bytes": 10_000,
        }
    )
    supervise(bounded, scenario)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "vllm.log",
        "vllm.log.1",
        "vllm.log.2",
    ]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())


def test_after_a_kill_it_serves_again_and_leaves_nothing_behind(tmp_path: Path) -> None:
    note = tmp_path / "child"

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        await reports.until_serving()
        child = int(note.read_text())
        os.kill(parent_of(child), signal.SIGKILL)
        assert "killed from outside" in await reports.until_said("started again")
        assert has_ended(child)
        await reports.until_serving()

    supervise(launch(free_port(), "--with-child", str(note)), scenario)
    assert has_ended(int(note.read_text()))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_after_a_kill_of_its_guard_too(tmp_path: Path) -> None:
    note = tmp_path / "child"

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        await reports.until_serving()
        child = int(note.read_text())
        vllm = parent_of(child)
        os.kill(parent_of(vllm), signal.SIGKILL)
        assert "killed from outside" in await reports.until_said("started again")
        await_end(vllm)
        await_end(child)
        await reports.until_serving()

    supervise(launch(free_port(), "--stubborn", "--with-child", str(note)), scenario)
    assert has_ended(int(note.read_text()))


def test_it_gives_up_after_too_many_failures_and_shows_the_last_lines() -> None:
    async def scenario(reports: Reports, running: "asyncio.Task[None]") -> None:
        with pytest.raises(EngineUnavailable) as caught:
            await running
        assert "ended with status 7" in caught.value.public_message
        assert "| something odd" in caught.value.public_message
        restarts = await reports.until_said("again in 0.02 s")
        assert restarts == "vLLM ended with status 7; vLLM is started again in 0.02 s"

    supervise(launch(free_port(), "--say", "something odd", "--exit", "7"), scenario)


def test_it_gives_up_at_once_when_it_would_fail_every_time() -> None:
    async def scenario(_: Reports, running: "asyncio.Task[None]") -> None:
        with pytest.raises(EngineUnavailable, match="finds no NVIDIA GPU"):
            await running

    flags = ("--say", NO_GPU, "--exit", "1")
    supervise(launch(free_port(), *flags), scenario, most_failures=1_000_000)


def test_what_it_said_before_it_served_is_not_why_it_ended(tmp_path: Path) -> None:
    note = tmp_path / "child"

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        await reports.until_serving()
        os.kill(parent_of(int(note.read_text())), signal.SIGKILL)
        assert "killed from outside" in await reports.until_said("started again")
        await reports.until_serving()

    supervise(launch(free_port(), "--say", NO_GPU, "--with-child", str(note)), scenario)


def test_a_command_that_is_not_there_is_told() -> None:
    start = launch(free_port())
    broken = Launch(["/no/such/python"], start.environment, start.folder, start.watch, None)

    async def scenario(_: Reports, running: "asyncio.Task[None]") -> None:
        with pytest.raises(EngineUnavailable, match="a file is missing: /no/such/python"):
            await running

    supervise(broken, scenario)


def test_one_that_is_never_ready_is_ended() -> None:
    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        assert "did not answer" in await reports.until_said("started again")

    supervise(launch(free_port(), "--hang", start_timeout_s=0.1), scenario)


def test_one_that_answers_no_more_is_ended(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"

    async def scenario(reports: Reports, _: "asyncio.Task[None]") -> None:
        await reports.until_serving()
        deaf.touch()
        assert "did not answer" in await reports.until_said("started again")
        deaf.unlink()
        await reports.until_serving()

    supervise(launch(free_port(), "--deaf-when", str(deaf), watch_s=0.2), scenario)


def test_one_that_will_not_end_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "child"

    async def scenario(reports: Reports, running: "asyncio.Task[None]") -> None:
        await reports.until_serving()
        running.cancel()
        await asyncio.wait([running])
        assert has_ended(int(note.read_text()))

    supervise(launch(free_port(), "--stubborn", "--with-child", str(note)), scenario)


def test_a_port_that_is_taken_is_told() -> None:
    port = free_port()

    async def scenario(reports: Reports, running: "asyncio.Task[None]") -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        with pytest.raises(EngineUnavailable, match="port for vLLM is taken"):
            await running
        server.close()
        await server.wait_closed()

    supervise(launch(port), scenario, most_failures=2)


PARENT = """
import asyncio, os, pathlib, sys
from lanscribe.vllm.restarts import RestartSchedule
from lanscribe.vllm.process import VllmProcess
from tests.vllm.test_process import launch

def report(state):
    if not isinstance(state, str):
        print("serving", flush=True)

start = launch(int(sys.argv[1]), *sys.argv[2:])
asyncio.run(VllmProcess(start, report, RestartSchedule()).run())
"""


@pytest.mark.parametrize("stubborn", [[], ["--stubborn"]])
def test_it_does_not_outlive_a_gateway_that_is_killed(tmp_path: Path, stubborn: list[str]) -> None:
    note = tmp_path / "child"
    flags = [str(free_port()), "--with-child", str(note), *stubborn]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *flags], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "serving\n"
        child = int(note.read_text())
        vllm = parent_of(child)
        parent.kill()
    await_end(vllm)
    await_end(child)


def test_it_ends_when_the_gateway_and_the_guard_are_killed(tmp_path: Path) -> None:
    note = tmp_path / "child"
    flags = [str(free_port()), "--with-child", str(note)]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *flags], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "serving\n"
        child = int(note.read_text())
        vllm = parent_of(child)
        guard = parent_of(vllm)
        os.kill(parent.pid, signal.SIGSTOP)  # so that it cannot do anything about it
        os.kill(guard, signal.SIGKILL)
        parent.kill()
    await_end(vllm)
    os.kill(child, signal.SIGKILL)


def test_a_vllm_elsewhere_is_watched() -> None:
    async def main() -> None:
        port = free_port()
        watch = Watch(f"http://127.0.0.1:{port}", "key", poll_s=0.01, watch_s=0.05)
        reports = Reports()
        async with asyncio.timeout(DEADLINE_S):
            watching = asyncio.create_task(watch_elsewhere(watch, reports))
            assert watch.url in await reports.until_said("cannot be reached")
            command = launch(port).command
            vllm = await asyncio.create_subprocess_exec(*command, cwd=PROJECT_DIR)
            await reports.until_serving()
            vllm.kill()
            await vllm.wait()
            # while it dies it may not answer in time, which is said first
            assert watch.url in await reports.until_said("cannot be reached")
            watching.cancel()
            await asyncio.wait([watching])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        ("HTTP/1.1 401 Unauthorized", "{}", "refuses the key; set VLLM_API_KEY"),
        ("HTTP/1.1 500 Oh", "{}", "answers HTTP 500"),
        ("HTTP/1.1 200 OK", "{}", "does not say what it serves"),
        ("HTTP/1.1 200 OK", json.dumps({"data": [{"id": "x"}]}), "does not say what it serves"),
        ("nonsense", "", "is not HTTP"),
    ],
)
def test_other_answers_are_told(head: str, body: str, words: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "Authorization: Bearer key" in asked
        is_health = asked.startswith("GET /health")
        lines = ["HTTP/1.1 200 OK", "", ""] if is_health else [head, "", body]
        writer.write("\r\n".join(lines).encode())
        writer.close()

    async def main() -> str:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return str(await ask(Watch(f"http://127.0.0.1:{port}", "key")))

    assert words in asyncio.run(main())
