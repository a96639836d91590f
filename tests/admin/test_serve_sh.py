import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

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
