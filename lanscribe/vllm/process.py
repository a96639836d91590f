"""Keeps vLLM running: starts it, reports its progress, and restarts it until it fails too often."""

import asyncio
import errno
import json
import logging
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from urllib.parse import urlsplit

from lanscribe.errors import EngineUnavailable
from lanscribe.vllm import guard
from lanscribe.vllm.log import Diagnosis, LineSplitter, diagnose, progress
from lanscribe.vllm.probe import Answer, get_in_thread
from lanscribe.vllm.restarts import RestartSchedule

log = logging.getLogger(__name__)

_READ_BYTES = 65_536
_REMEMBERED_LINES = 300
_KEPT_FILES = 2
_MAX_MISSED = 3
_GUARD_LEEWAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What a running vLLM reports about itself."""

    model: str
    max_model_len: int


Report = Callable[[Serving | str], None]
"""Called at every change, with what vLLM serves, or why it does not serve."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Where vLLM answers, how often to check it, and for how long."""

    url: str
    api_key: str
    start_timeout_s: float = 1200.0
    poll_s: float = 1.0
    """Interval between two checks before vLLM serves."""
    watch_s: float = 5.0
    """Interval between two checks once vLLM serves; also the timeout of a check."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start vLLM, and how to end it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    """Its working folder."""
    watch: Watch
    log_file: Path | None
    log_bytes: int = 5_000_000
    stop_timeout_s: float = 6.0


class VllmProcess:
    """vLLM as a process on this machine."""

    def __init__(self, launch: Launch, report: Report, schedule: RestartSchedule) -> None:
        self._launch = launch
        self._report = report
        self._schedule = schedule
        self._has_served = False
        self._is_serving = False
        self._served_since_s: float | None = None

    async def run(self) -> None:
        """Run vLLM until cancelled, then end it. Raises EngineUnavailable if it fails for good."""
        while True:
            self._is_serving = False
            self._served_since_s = None
            diagnosis = await self._run_once()
            now_s = asyncio.get_running_loop().time()
            served_s = 0.0 if self._served_since_s is None else now_s - self._served_since_s
            wait_s = self._schedule.failed(now_s, served_s=served_s)
            if wait_s is None or (diagnosis.is_lasting and not self._has_served):
                raise EngineUnavailable(f"vLLM will not be started again: {diagnosis}")
            log.error("vLLM is down: %s", diagnosis)
            self._report(f"{diagnosis.cause}; vLLM is started again in {wait_s:g} s")
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> Diagnosis:
        """Start it, watch it until it ends, and return why it ended."""
        self._report("vLLM is starting")
        if fault := _port_fault(self._launch.watch.url):
            return diagnose([fault], None)
        try:
            process = await _start(self._launch)
        except OSError as error:
            return diagnose([f"{type(error).__name__}: {error}"], None)
        lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        reading = asyncio.create_task(self._read(process, lines))
        watching = asyncio.create_task(self._watch(lines))
        guarding = asyncio.create_task(_until_unguarded(process))
        try:
            ends = {reading, watching, guarding}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if guarding.done():  # else its children would keep running, unreported
                guard.kill_session(process.pid)
            watching.cancel()
            await asyncio.wait({watching})
            status = await _end(process, reading, self._launch.stop_timeout_s)
            await guarding
        if watching.cancelled():
            return diagnose(list(lines), status)
        return diagnose([*lines, watching.result()], None)

    async def _watch(self, lines: deque[str]) -> str:
        """Report when it serves; return the fault when it does not, or stops answering.

        Once it serves, earlier log lines are dropped: they cannot explain a later end.
        """
        watch = self._launch.watch
        try:
            async with asyncio.timeout(watch.start_timeout_s):
                serving = await _until_serving(watch)
        except TimeoutError:
            return f"vLLM was stopped: it was not ready after {watch.start_timeout_s:g} s"
        self._is_serving = self._has_served = True
        self._served_since_s = asyncio.get_running_loop().time()
        lines.clear()
        self._report(serving)
        missed = 0
        while missed < _MAX_MISSED:
            await asyncio.sleep(watch.watch_s)
            missed = missed + 1 if isinstance(await ask(watch), str) else 0
        return f"vLLM was stopped: it did not answer {_MAX_MISSED} times"

    async def _read(self, process: Process, lines: deque[str]) -> None:
        """Read its output until the end."""
        assert process.stdout is not None
        splitter = LineSplitter()
        file = _open_log(self._launch)
        try:
            while data := await process.stdout.read(_READ_BYTES):
                self._take_in(splitter.feed(data), lines, file)
            self._take_in(splitter.end(), lines, file)
        finally:
            file.close()

    def _take_in(self, new: Sequence[str], lines: deque[str], file: logging.Handler) -> None:
        stage = None
        for line in new:
            lines.append(line)
            file.handle(logging.makeLogRecord({"msg": line}))
            stage = progress(line) or stage
        if stage and not self._is_serving:
            log.info("vLLM: %s", stage)
            self._report(f"vLLM is starting: {stage}")


async def watch_elsewhere(watch: Watch, report: Report) -> None:
    """Report the state of a vLLM that runs elsewhere, until cancelled."""
    last: Serving | str = ""
    while True:
        state = await ask(watch)
        if state != last:
            report(state)
            last = state
        await asyncio.sleep(watch.poll_s if isinstance(state, str) else watch.watch_s)


async def _until_serving(watch: Watch) -> Serving:
    while True:
        state = await ask(watch)
        if isinstance(state, Serving):
            return state
        await asyncio.sleep(watch.poll_s)


async def ask(watch: Watch) -> Serving | str:
    """What vLLM serves, or why it does not."""
    try:
        async with asyncio.timeout(watch.watch_s):
            answer = await _get(watch, "/health")
            if answer.status == 200:
                answer = await _get(watch, "/v1/models")
    except TimeoutError:
        return f"{watch.url} does not answer"
    except OSError as error:
        return f"{watch.url} cannot be reached: {error}"
    if answer.status in {401, 403}:
        return f"{watch.url} refuses the key; set VLLM_API_KEY to the one it was started with"
    if answer.status != 200:
        return f"{watch.url} answers HTTP {answer.status}"
    try:
        model = json.loads(answer.body)["data"][0]
        return Serving(str(model["id"]), int(model["max_model_len"]))
    except (ValueError, KeyError, IndexError, TypeError):
        return f"{watch.url} does not say what it serves, as vLLM would"


async def _get(watch: Watch, path: str) -> Answer:
    url = watch.url.removesuffix("/") + path
    return await get_in_thread(url, watch.watch_s, watch.api_key)


async def _start(launch: Launch) -> Process:
    """Start vLLM under a guard that ends it with this process."""
    command = [guard.__file__, f"{launch.stop_timeout_s:g}", *launch.command]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", *command),
        cwd=launch.folder,
        env=launch.environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,  # only the gateway handles a terminal's Ctrl-C
    )


async def _until_unguarded(process: Process) -> None:
    """Wait until the guard has ended: only the guard has the other end of its stdin."""
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()


async def _end(process: Process, reading: asyncio.Task[None], stop_timeout_s: float) -> int:
    """Have the guard end vLLM, if it still runs; return the exit status.

    All processes of vLLM have ended when its output is closed.
    """
    assert process.stdin is not None
    process.stdin.close()
    await asyncio.wait({reading}, timeout=stop_timeout_s + _GUARD_LEEWAY_S)
    if not reading.done():
        log.error("vLLM does not end; killing all processes of its session %d", process.pid)
        guard.kill_session(process.pid)
        await asyncio.wait({reading}, timeout=_GUARD_LEEWAY_S)
    if not reading.done():
        log.error("vLLM cannot be ended; its processes keep running")
        reading.cancel()
        await asyncio.wait({reading})
        return -signal.SIGKILL
    reading.result()
    return await process.wait()


def _port_fault(url: str) -> str:
    """Why vLLM cannot listen on that address; empty if it can."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((parts.hostname, parts.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"address already in use: {parts.netloc}"
            return f"{parts.netloc}: {error.strerror}"
    return ""


def _open_log(launch: Launch) -> logging.Handler:
    """A rotating log file; no log if none is set, or if it cannot be written."""
    if launch.log_file is None:
        return logging.NullHandler()
    try:
        launch.log_file.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(
            launch.log_file,
            maxBytes=launch.log_bytes,
            backupCount=_KEPT_FILES,
            encoding="utf-8",
        )
    except OSError as error:
        log.warning("no log file: %s: %s", launch.log_file, error.strerror)
        return logging.NullHandler()
