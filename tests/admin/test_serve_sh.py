import os
import platform
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.nvml import RTX_3060, put_nvml
from tests.projects import DEADLINE_S, copy_project, lend_venv, run_script, write_script
from tests.support import get_json

FAKE = ("--engine", "fake", "--host", "127.0.0.1", "--port", "0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is set up, under a path with a space."""
    folder = copy_project(tmp_path_factory.mktemp("serve") / "a b" / "lanscribe")
    lend_venv(folder)
    return folder


@pytest.fixture
def server(project: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """serve.sh as a terminal starts it: a process group of its own; ready when yielded."""
    process = subprocess.Popen(
        ["bash", str(project / "serve.sh"), *FAKE],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        until_ready(process)
        yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE_S)


def until_ready(process: subprocess.Popen[str]) -> list[str]:
    """What it prints when it is ready."""
    lines: list[str] = []
    assert process.stdout is not None
    while not lines or not lines[-1].startswith("  stop"):
        lines.append(process.stdout.readline())
        assert lines[-1], "it did not start"
    return lines


def test_without_setup_it_says_what_to_do(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    done = run_script(project / "serve.sh", cwd=tmp_path)
    assert done.returncode == 1
    assert "there is no .venv here" in done.stderr
    assert done.stderr.endswith("next: bash setup.sh\n")


def test_an_interrupted_setup_counts_as_none(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    lend_venv(project)
    (project / ".venv/lanscribe-setup.json").unlink()
    done = run_script(project / "serve.sh", *FAKE, cwd=tmp_path)
    assert (done.returncode, "setup has not finished" in done.stderr) == (1, True)


def test_a_moved_folder_has_to_be_set_up_again(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    lend_venv(project)
    moved = project.rename(tmp_path / "c d")
    done = run_script(moved / "serve.sh", *FAKE, cwd=tmp_path)
    assert (done.returncode, f"made in {project}/.venv" in done.stderr) == (1, True)


def test_an_update_that_changes_packages_asks_for_setup(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    lend_venv(project)
    with (project / "requirements/embedded.txt").open("a") as lock:
        lock.write("# changed\n")
    done = run_script(project / "serve.sh", *FAKE, cwd=tmp_path)
    assert (done.returncode, "embedded.txt has changed" in done.stderr) == (1, True)


def test_a_python_that_does_not_run_is_told(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    lend_venv(project)
    write_script(project / ".venv/bin/python", "echo 'no such interpreter' >&2; exit 127")
    done = run_script(project / "serve.sh", *FAKE, cwd=tmp_path)
    assert (done.returncode, "why:  no such interpreter" in done.stderr) == (1, True)


def test_a_python_that_is_gone_is_told(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").symlink_to(tmp_path / "gone")
    done = run_script(project / "serve.sh", *FAKE, cwd=tmp_path)
    assert (done.returncode, "was made with is gone" in done.stderr) == (1, True)


def test_help_shows_the_servers_own_flags(project: Path, tmp_path: Path) -> None:
    done = run_script(project / "serve.sh", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: bash serve.sh")
    assert "--log-level" in done.stdout


def test_help_works_before_setup(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    done = run_script(project / "serve.sh", "-h", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "First: bash setup.sh" in done.stdout


def test_help_without_stdout_says_so(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    command = ["bash", "-c", "bash serve.sh help >&-"]
    done = subprocess.run(command, cwd=project, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "serve: the help cannot be written\n       why:  stdout is closed" in done.stderr
    assert "Bad file descriptor" not in done.stderr


@pytest.mark.parametrize("flags", [["--no-such-flag"], ["--port", "70000"]])
def test_a_wrong_flag_ends_with_2(project: Path, tmp_path: Path, flags: list[str]) -> None:
    done = run_script(project / "serve.sh", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert flags[-1] in done.stderr


def test_files_in_the_current_folder_are_not_imported(project: Path, tmp_path: Path) -> None:
    (tmp_path / "lanscribe").mkdir()
    (tmp_path / "asyncio.py").write_text("raise SystemExit('the wrong one')")
    done = run_script(project / "serve.sh", "--port", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "wrong one" not in done.stderr


def test_a_relative_path_is_fine(project: Path, tmp_path: Path) -> None:
    done = run_script(Path(os.path.relpath(project / "serve.sh", tmp_path)), "-h", cwd=tmp_path)
    assert "--log-level" in done.stdout


def test_a_link_to_the_script_leads_to_its_folder(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lanscribe").symlink_to(project / "serve.sh")
    (tmp_path / "bin/serve").symlink_to("../lanscribe")
    for link in ("lanscribe", "bin/serve"):
        done = run_script(tmp_path / link, "check-config", cwd=tmp_path / "bin")
        assert (done.returncode, done.stdout) == (0, "the settings are valid\n"), done.stderr


def last_line(project: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The status, and the line that says why."""
    done = run_script(project / "serve.sh", *arguments, cwd=project, environment=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.removesuffix("\n")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("nosuch.invalid", "no such address or name; expected one of this machine: "),
        ("a" * 70 + ".b", "no such address or name; expected one of this machine: "),
        ("10.99.99.99", "not an address of this machine; it has "),
    ],
)
def test_an_address_that_is_not_this_machines_is_named_with_those_that_are(
    project: Path, host: str, words: str
) -> None:
    status, told = last_line(project, "--engine", "fake", "--port", "0", "--host", host)
    assert status == 1
    assert told.startswith(f"lanscribe: --host {host}: {words}")
    assert told.endswith("127.0.0.1, or 0.0.0.0 for all of them")


def test_a_port_that_is_taken_is_named_with_the_flag(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = last_line(project, "--engine", "fake", "--host", "127.0.0.1", "--port", str(port))
    why = f"cannot listen on 127.0.0.1:{port}: another program listens there; end that, or choose"
    assert told == (1, f"lanscribe: {why} another port with --port")


@pytest.mark.parametrize("flags", [("--port", "80x", "--direct"), ("--direct", "--port", "80x")])
def test_direct_may_stand_before_and_after_the_other_flags(
    project: Path, flags: tuple[str, ...]
) -> None:
    status, told = last_line(project, *flags)
    assert (status, "--port: got '80x'; it should be an integer" in told) == (2, True)
    status, told = last_line(project, "--host", "::1", "--direct")
    assert (status, "bash setup.sh installs vLLM" in told) == (1, True)


def test_the_flags_of_the_kit_are_taken_and_have_no_effect_without_a_card(project: Path) -> None:
    flags = ("--max-model-len", "32768", "--gpu-memory-utilization", "0.9")
    status, told = last_line(project, "check-config", *flags, CUDA_VISIBLE_DEVICES="")
    assert status == 0
    assert told == (
        "lanscribe: --max-model-len 32768 --gpu-memory-utilization 0.9: no effect with the embedded"
        " engine, which serves here: there is no NVIDIA card, or no driver for it, or"
        " CUDA_VISIBLE_DEVICES hides it"
    )
    status, told = last_line(project, "check-config", "--engine", "fake", *flags)
    assert (status, told.endswith("no effect with the engine fake")) == (0, True)
    url = "http://box:8001"
    status, told = last_line(project, "check-config", *flags, LANSCRIBE_VLLM_URL=url)
    assert (status, told.endswith(f"no effect on the vLLM at {url}, which runs already")) == (
        (0, True)
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="vLLM is for x86-64 here")
@pytest.mark.parametrize("word", [["check-config"], []])
def test_the_flags_of_the_kit_are_refused_if_they_do_not_fit(
    project: Path, tmp_path: Path, word: list[str]
) -> None:
    own = project.with_name("with a card")
    if not own.exists():
        copy_project(own)
        lend_venv(own)
    put_nvml(own, RTX_3060)
    done = run_script(
        own / "serve.sh", *word, "--port", "0", "--gpu-memory-utilization", "0.2", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"lanscribe: --gpu-memory-utilization 0\.2 does not fit: it is 2\.3 GiB of the 11\.6 GiB"
        r" that CUDA sees \(11\.5 GiB free\), and the 4 sessions of the profile rtx3060-12gb take"
        r" 6\.\d GiB; from 0\.57 to 0\.94 fits, on NVIDIA GeForce RTX 3060, 12288 MiB .*\n",
        done.stderr,
    ), done.stderr


def test_the_flags_of_voxmlx_are_taken(project: Path) -> None:
    flags = ("--serve", "--host", "127.0.0.1", "--port", "8000")
    assert last_line(project, "check-config", *flags) == (0, "")


@pytest.mark.parametrize(
    ("place", "why"), [("&-", "it is closed"), ("/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("word", ["status", "help", "print-env", "key make", "models"])
def test_an_answer_that_cannot_be_printed_is_one_line(
    project: Path, place: str, why: str, word: str
) -> None:
    if place == "/dev/full" and not Path(place).exists():
        pytest.skip(f"no {place}")
    if word == "key make":  # prints only that it is there already
        run_script(project / "serve.sh", "key", "make", cwd=project)
    command = f"-m lanscribe {word}"
    done = subprocess.run(
        ["bash", "-c", f"exec '{project}/.venv/bin/python' -P {command} >{place}"],
        env={**os.environ, "PYTHONPATH": str(project)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"lanscribe: the answer cannot be written to stdout: {why}\n"


def test_a_reader_that_has_seen_enough_is_no_fault(project: Path) -> None:
    command = f"'{project}/.venv/bin/python' -P -m lanscribe print-env | true"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(project)},
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_a_word_without_stderr_still_answers(project: Path) -> None:
    command = f"'{project}/.venv/bin/python' -P -m lanscribe key --no-such-flag 2>&- 0<&-; echo $?"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--prot", "1"), "--prot 1; bash serve.sh --help lists the flags"),
        (
            ("status", "-x"),
            "-x; bash serve.sh status --help lists the flags",
        ),
    ],
)
def test_help_is_named_as_it_is_typed(project: Path, flags: tuple[str, ...], words: str) -> None:
    assert last_line(project, *flags) == (2, f"lanscribe: unrecognized arguments: {words}")
    shown = run_script(project / "serve.sh", "--help", cwd=project).stdout
    assert "usage: bash serve.sh [-h]" in shown
    assert "lanscribe serve" not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(server: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(server.pid, number)
    assert server.wait(DEADLINE_S) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)


def test_nohup_outlives_its_terminal(project: Path, tmp_path: Path) -> None:
    command = ["nohup", "bash", str(project / "serve.sh"), *FAKE]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        (url,) = (line.split()[1] for line in until_ready(process) if "health" in line)
        process.send_signal(signal.SIGHUP)
        status, _ = get_json(url)
        assert status == 200
        process.terminate()
    assert process.returncode == 0


def test_ctrl_c_while_it_is_loaded_leaves_no_traceback(project: Path) -> None:
    command = [str(project / ".venv/bin/python"), "-P", "-m", "lanscribe", "serve", *FAKE]
    environ = {**os.environ, "PYTHONPATH": str(project), "PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("starlette" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == -signal.SIGINT


def test_nobody_has_to_read_what_it_prints(project: Path, tmp_path: Path) -> None:
    command = ["bash", str(project / "serve.sh"), *FAKE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert any("cannot print" in line for line in process.stderr)
        process.terminate()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 0


def test_the_server_takes_the_scripts_process_over(server: subprocess.Popen[str]) -> None:
    if shutil.which("ps") is None:
        pytest.skip("no ps")
    rows = subprocess.run(
        ["ps", "-o", "command=", "-p", str(server.pid)], capture_output=True, text=True, check=True
    )
    assert "-m lanscribe serve" in rows.stdout
