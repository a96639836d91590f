"""serve.sh from another terminal: stop, restart, status; and vLLM without the gateway."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.admin import control, records
from lanscribe.admin.commands import dispatch
from lanscribe.admin.records import Record, start_mark
from tests.projects import DEADLINE_S, copy_project, lend_venv, run_script, write_script

FAKE = ("--engine", "fake", "--host", "127.0.0.1", "--port", "0")
STARTS_ANEW_IN_VAIN = """
import os, signal, sys, time
from pathlib import Path
from lanscribe.admin import orders, records
records.RECORDS_DIR, port = Path(sys.argv[1]), int(sys.argv[2])
if len(sys.argv) == 3:
    signal.pthread_sigmask(signal.SIG_BLOCK, {orders.RESTART_SIGNAL})
    records.write("gateway", "127.0.0.1", port)
    signal.sigwait({orders.RESTART_SIGNAL})
    os.execv(sys.executable, [*sys.orig_argv, "anew"])
records.begin()
time.sleep(1)
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is set up, under a path with a space."""
    folder = copy_project(tmp_path_factory.mktemp("control") / "a b" / "lanscribe")
    lend_venv(folder)
    return folder


Terminal = subprocess.Popen[str]


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[[], Terminal]]:
    """Start serve.sh as in a terminal; ready when it returns."""
    terminals: list[Terminal] = []

    def start() -> Terminal:
        command = ["bash", str(project / "serve.sh"), *FAKE]
        terminals.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        await_banner(terminals[-1])
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.kill()
        terminal.wait(DEADLINE_S)
        assert terminal.stdout is not None
        terminal.stdout.close()


def await_banner(terminal: Terminal) -> int:
    """Read the banner; the port in it."""
    assert terminal.stdout is not None
    port = 0
    for line in terminal.stdout:
        if line.startswith("  health"):
            port = int(line.rpartition(":")[2].partition("/")[0])
        if line.startswith("  stop"):
            return port
    pytest.fail("it did not start")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script(project / "serve.sh", *arguments, cwd=project)


def test_without_a_server_there_is_nothing_to_do(project: Path) -> None:
    assert (run(project, "status").returncode, run(project, "status").stdout) == (
        control.NOT_RUNNING,
        "nothing runs\n",
    )
    assert run(project, "stop").returncode == 0
    assert run(project, "restart").returncode == 1


def test_status_shows_and_stop_stops(project: Path, serve: Callable[[], Terminal]) -> None:
    server = serve()
    shown = run(project, "status")
    assert shown.returncode == 0
    assert "ready, fake with fake-numbers, 0 of 64 sessions" in shown.stdout
    assert run(project, "stop").returncode == 0
    assert server.wait(DEADLINE_S) == 0
    assert not list((project / ".cache/servers").iterdir())


def test_restart_keeps_the_terminal(project: Path, serve: Callable[[], Terminal]) -> None:
    server = serve()
    (project / "config/local.toml").write_text("[engine]\nsessions = 3\n")
    try:
        done = run(project, "restart")
    finally:
        (project / "config/local.toml").unlink()
    assert done.returncode == 0
    assert "0 of 3 sessions" in done.stderr
    await_banner(server)
    assert run(project, "stop").returncode == 0
    assert server.wait(DEADLINE_S) == 0


def test_of_two_servers_the_one_on_a_port_is_meant(
    project: Path, serve: Callable[[], Terminal]
) -> None:
    serve()
    other = serve()
    (record,) = [
        json.loads(path.read_text())
        for path in (project / ".cache/servers").iterdir()
        if path.stem == str(other.pid)
    ]
    assert len(run(project, "status").stdout.splitlines()) == 2
    assert run(project, "stop", "--port", str(record["port"])).returncode == 0
    assert other.wait(DEADLINE_S) == 0
    assert len(run(project, "status").stdout.splitlines()) == 1


def test_a_killed_server_is_not_there(project: Path, serve: Callable[[], Terminal]) -> None:
    server = serve()
    server.kill()
    server.wait(DEADLINE_S)
    assert run(project, "status").returncode == control.NOT_RUNNING
    assert not list((project / ".cache/servers").iterdir())


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with it."""
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(records, "RECORDS_DIR", tmp_path)
    return tmp_path


def write(folder: Path, pid: int, mark: str) -> Path:
    path = folder / f"{pid}.json"
    path.write_text(json.dumps(asdict(Record(pid, mark, "1", "gateway", "127.0.0.1", 1))))
    return path


def test_a_number_that_went_to_another_process_is_never_signalled(
    folder: Path, stranger: subprocess.Popen[bytes]
) -> None:
    path = write(folder, stranger.pid, "12345 another-boot")
    assert dispatch(["stop"]) == 0
    assert stranger.poll() is None
    assert not path.exists()


def test_the_process_of_the_record_is(folder: Path, stranger: subprocess.Popen[bytes]) -> None:
    write(folder, stranger.pid, start_mark(stranger.pid) or "")
    assert dispatch(["stop"]) == 0
    assert stranger.wait(DEADLINE_S) == -15


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"pid": 1}'])
def test_a_record_that_is_none_is_thrown_away(folder: Path, text: str) -> None:
    (folder / "1.json").write_text(text)
    assert dispatch(["status"]) == control.NOT_RUNNING
    assert not list(folder.iterdir())


def test_a_record_that_is_no_file_keeps_nobody_waiting(folder: Path) -> None:
    """A pipe that nobody writes to, and one that somebody holds open."""
    for name in ("1.json", "2.json"):
        os.mkfifo(folder / name)
    held = os.open(folder / "2.json", os.O_RDWR)
    try:
        assert dispatch(["status"]) == control.NOT_RUNNING
    finally:
        os.close(held)
    assert not list(folder.iterdir())


def test_a_start_mark_is_a_processs_own(stranger: subprocess.Popen[bytes]) -> None:
    assert start_mark(stranger.pid) == start_mark(stranger.pid)
    stranger.kill()
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)
    assert start_mark(stranger.pid) is None


def test_a_port_without_a_server_is_named_with_those_that_have_one(
    project: Path, serve: Callable[[], Terminal]
) -> None:
    none = "nothing runs on port 1"
    assert run(project, "stop", "--port", "1").stderr == f"serve: {none}\n"
    serve()
    (here,) = run(project, "status").stdout.partition(":")[:1]
    for word in ("stop", "restart"):
        told = run(project, word, "--port", "1").stderr
        assert told.startswith(f"serve: {none}; there is {here}")
    assert run(project, "status", "--port", "1").stdout == f"{none}; there is {here}\n"
    assert run(project, "stop").returncode == 0


def test_a_restart_with_wrong_settings_leaves_the_server_running(
    project: Path, serve: Callable[[], Terminal]
) -> None:
    terminal = serve()
    before = run(project, "status").stdout
    local = project / "config/local.toml"
    try:
        for wrong in ("[server]\nprot = 1\n", "[rollover]\ntarget_s = 400\nlimit_s = 'x'\n"):
            local.write_text(wrong)
            for _ in range(2):
                done = run(project, "restart")
                assert done.returncode == 1
                assert "has not restarted, and runs on: " in done.stderr
                assert f"{local}: " in done.stderr
                assert done.stderr.count("\n") == 1
                assert terminal.poll() is None
                assert run(project, "status").stdout == before
        local.write_text("[limits]\nlag_s = 4\n")
        assert run(project, "restart").returncode == 0
        assert await_banner(terminal)
    finally:
        local.unlink()
    assert run(project, "stop").returncode == 0


@pytest.fixture
def direct_project(project: Path) -> Iterator[Path]:
    """One where vLLM is a script that shows how it was called."""
    python = project / ".venv-vllm/bin/python"
    python.parent.mkdir(parents=True, exist_ok=True)
    write_script(python, 'printf "%s\\n" "$@"; echo "key ${VLLM_API_KEY-none}"')
    model = project / "models/voxtral-mini-4b-realtime"
    model.mkdir(parents=True, exist_ok=True)
    (model / "params.json").write_text("{}")
    (model / "tekken.json").write_text('{"audio": {"transcription_delay_ms": 480}}')
    (project / "config/local.toml").write_text(
        "[vllm]\nprofile = 'rtx3060-12gb'\narguments = '--max-model-len 1000'\n"
    )
    yield project
    (project / "config/local.toml").unlink()


def test_direct_is_vllm_on_the_network(direct_project: Path) -> None:
    flags = ("--port", "9000", "--max-model-len", "2000", "--gpu-memory-utilization", "0.7")
    done = run(direct_project, "--direct", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("-P", "-m", "vllm.entrypoints.openai.api_server"),
        *("--config", str(direct_project / "config/vllm/rtx3060-12gb.yaml")),
        *("--model", str(direct_project / "models/voxtral-mini-4b-realtime")),
        *("--host", "0.0.0.0", "--port", "9000"),
        *("--max-model-len", "1000", "--max-model-len", "2000"),
        *("--gpu-memory-utilization", "0.7"),
        "key none",
    ]
    assert "anybody who can reach it may use it" in done.stderr


def test_direct_without_the_model_says_what_is_missing(direct_project: Path) -> None:
    (direct_project / "models/voxtral-mini-4b-realtime/params.json").unlink()
    done = run(direct_project, "--direct")
    assert done.returncode == 2
    assert "it has no params.json" in done.stderr


# Records that are none.

JUNK: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**70,
    10**400,
    "",
    "x",
    "\0",
    "\x1b[2J",
    [],
    {},
    [[]],
]


def mutated(rng: Random, whole: dict[str, object]) -> str:
    """A record of which something is wrong, as JSON; or something that is not even that."""
    found = dict(whole)
    for name in rng.sample(sorted(found), rng.randint(1, 3)):
        if rng.random() < 0.2:
            del found[name]
        else:
            found[name] = rng.choice(JUNK)
    if rng.random() < 0.1:
        found[rng.choice(["more", "pid "])] = 1
    text = json.dumps(found)
    if rng.random() < 0.2:
        text = text[: rng.randrange(len(text))]
    if rng.random() < 0.1:
        return rng.choice(["[" * 100_000, "\ufeff" + text, json.dumps([found]), "NaN", "\n" * 99])
    return text


@pytest.mark.parametrize("seed", range(20))
def test_no_record_ends_a_command_in_a_traceback_or_the_wrong_process(
    folder: Path, stranger: subprocess.Popen[bytes], seed: int
) -> None:
    rng = Random(seed)
    whole = asdict(Record(stranger.pid, "12345 another-boot", "1", "gateway", "127.0.0.1", 1))
    for number in range(10):
        for name in range(rng.randint(1, 4)):
            path = folder / f"{rng.choice([stranger.pid, name, 'x', '-1'])}.json"
            if not path.exists():
                path.write_bytes(mutated(rng, whole).encode() + rng.choice([b"", b"\xff"]))
        (folder / "folder.json").mkdir(exist_ok=True)
        command = rng.choice(["status", "stop"])
        status = dispatch([command, *rng.choice([[], ["--port", "1"]])])
        assert status == {"status": control.NOT_RUNNING, "stop": 0}[command], f"{seed}, {number}"
    assert stranger.poll() is None
    assert [path.name for path in folder.glob("*.json")] == ["folder.json"]


@pytest.mark.parametrize("host", ["", "\\", "x" * 300, "a..b", "1.2.3.4.5", "[", "%zz", "::1%nope"])
def test_a_host_that_is_none_does_not_answer(folder: Path, host: str) -> None:
    me = Record(os.getpid(), start_mark(os.getpid()) or "", "1", "gateway", host, 1)
    (folder / "1.json").write_text(json.dumps(asdict(me)))
    assert dispatch(["status"]) == 0


def test_another_server_on_its_port_is_not_the_one_that_starts_anew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its port is free meanwhile, and the other one answers there that it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        Thread(target=answer_ready, args=(listener,), daemon=True).start()
        command = [sys.executable, "-c", STARTS_ANEW_IN_VAIN, str(folder), str(port)]
        with subprocess.Popen(command, cwd=PROJECT_DIR) as process:
            path = folder / f"{process.pid}.json"
            while not path.exists():
                assert process.poll() is None
            assert dispatch(["status"]) == 0
            assert "ready, none with none" in capsys.readouterr().out
            assert dispatch(["restart"]) == 1
    assert "has not come back" in capsys.readouterr().err


def answer_ready(listener: socket.socket) -> None:
    body = b'{"status": "ok", "engine": "none", "model": "none", "sessions": 0, "capacity": 0}'
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(10_000)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)


def test_what_a_server_says_of_itself_steers_no_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        me = Record(os.getpid(), start_mark(os.getpid()) or "", "1", "gateway", "127.0.0.1", port)
        (folder / "1.json").write_text(json.dumps(asdict(me)))
        answering = Thread(target=answer_with_colours, args=(listener,))
        answering.start()
        assert dispatch(["status"]) == 0
        answering.join(DEADLINE_S)
    assert "red: [31m" in capsys.readouterr().out


def answer_with_colours(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(10_000)
        body = b'{"status": "red", "reason": "\\u001b[31m\\n"}'
        connection.sendall(b"HTTP/1.0 503 x\r\n\r\n" + body)


@pytest.mark.parametrize("place", ["&-", "/dev/full"])
def test_a_server_that_cannot_print_its_addresses_serves(project: Path, place: str) -> None:
    command = ["bash", "-c", f'exec bash "$0" "$@" >{place}', str(project / "serve.sh"), *FAKE]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + DEADLINE_S
        while "ready, fake" not in run(project, "status").stdout:
            assert server.poll() is None
            assert time.monotonic() < deadline
        assert run(project, "stop").returncode == 0
