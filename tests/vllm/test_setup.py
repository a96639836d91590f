"""Setting up vLLM for a card that only seems to be there, with packages of a few bytes.

The tests of the first half share one folder and run in order.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.nvml import NO_DRIVER, RTX_3060, put_large_disk, put_nvml
from tests.projects import DEADLINE_S, copy_project
from tests.vllm_wheels import make_wheels, write_lock
from tests.voxtral_copy import write_model

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="vLLM is set up on Linux on x86-64 only",
)
ENTRY_POINTS = """
from importlib.metadata import entry_points
print(*(point.value for point in entry_points(group="vllm.general_plugins")))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheels(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the model that somebody has already."""
    folder = tmp_path_factory.mktemp("disk") / "my model"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """The folder that the tests of the first half share, on a machine with a card."""
    return make_project(tmp_path_factory.mktemp("setup") / "a b" / "lanscribe", wheels)


@pytest.fixture
def fresh(tmp_path: Path, wheels: Path) -> Path:
    """A folder of one's own."""
    return make_project(tmp_path / "a b" / "lanscribe", wheels)


@pytest.fixture
def installed(project: Path, wheels: Path, model: Path) -> Path:
    """The shared folder, set up; when the tests run in order, that is done already."""
    if not (project / ".venv-vllm/lanscribe-setup.json").exists():
        assert set_up(project, wheels, "--model-dir", str(model)).returncode == 0
    return project


def make_project(folder: Path, wheels: Path) -> Path:
    copy_project(folder)
    write_lock(folder / "requirements/vllm.txt", wheels)
    put_nvml(folder, RTX_3060)
    put_large_disk(folder)
    return folder


def environment(project: Path, wheels: Path) -> dict[str, str]:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **offline, "PYTHONPATH": str(project)}


def set_up(
    project: Path, wheels: Path, *arguments: str, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m lanscribe vllm-setup` without a network."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "lanscribe", "vllm-setup", *arguments],
        env={**environment(project, wheels), **(extra or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def times(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path): path.stat().st_mtime_ns for path in files}


# In order, in one folder.


def test_a_setup_that_is_killed_leaves_no_stamp(project: Path, wheels: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "lanscribe", "vllm-setup"],
        env=environment(project, wheels),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if "installing requirements/vllm.txt" in line:
                os.killpg(process.pid, 9)
                break
        process.stderr.read()
    assert process.wait(DEADLINE_S) == -9
    assert (project / ".venv-vllm").exists()
    assert not (project / ".venv-vllm/lanscribe-setup.json").exists()


def test_the_next_one_makes_everything(project: Path, wheels: Path, model: Path) -> None:
    done = set_up(project, wheels, "--model-dir", str(model))
    assert (done.returncode, done.stdout) == (0, "changed\n"), done.stderr
    assert "RTX 3060, 12288 MiB" in done.stderr
    assert "with the profile rtx3060-12gb" in done.stderr
    assert "making .venv-vllm: setup has not finished" in done.stderr
    assert (project / "models/voxtral-mini-4b-realtime/manifest.json").exists()
    assert not (project / ".cache/tmp").exists()


def test_vllm_finds_the_plugin(installed: Path) -> None:
    done = subprocess.run(
        [installed / ".venv-vllm/bin/python", "-P", "-c", ENTRY_POINTS],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("lanscribe.vllm.plugin")


def test_a_second_one_changes_nothing(installed: Path, wheels: Path, model: Path) -> None:
    before = times(installed)
    for arguments in ([], ["--model-dir", str(model)]):
        done = set_up(installed, wheels, *arguments)
        assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert times(installed) == before


def test_a_card_that_is_in_use_does_not_undo_anything(installed: Path, wheels: Path) -> None:
    put_nvml(installed, RTX_3060 | {"free_mib": 300})
    assert set_up(installed, wheels).stdout == "ready\n"
    put_nvml(installed, RTX_3060)


def test_a_package_that_is_damaged_is_installed_anew(installed: Path, wheels: Path) -> None:
    (next((installed / ".venv-vllm").glob("lib/python3.*")) / "site-packages/vllm.py").unlink()
    done = set_up(installed, wheels)
    assert (done.returncode, done.stdout) == (0, "changed\n"), done.stderr
    assert "making .venv-vllm: vllm.py of vllm-1.0 is missing or changed" in done.stderr


def test_a_plugin_that_moved_is_announced_again(installed: Path, wheels: Path) -> None:
    pyproject = installed / "pyproject.toml"
    text = pyproject.read_text()
    pyproject.write_text(text.replace('lanscribe = "lanscribe.vllm.plugin', 'other = "lanscribe.x'))
    done = set_up(installed, wheels)
    assert (done.returncode, done.stdout) == (0, "changed\n"), done.stderr
    assert "making .venv-vllm" not in done.stderr
    pyproject.write_text(text)
    assert set_up(installed, wheels).stdout == "changed\n"


def test_a_model_that_is_gone_is_not_downloaded_over(
    installed: Path, wheels: Path, model: Path
) -> None:
    away = model.rename(model.with_name("away"))
    done = set_up(installed, wheels)
    assert done.returncode == 1
    assert f"the copy in {model} cannot be used" in done.stderr
    away.rename(model)
    assert set_up(installed, wheels).stdout == "ready\n"


# Each in a folder of its own.


def test_without_a_card_nothing_happens(fresh: Path, wheels: Path) -> None:
    (fresh / "pynvml.py").write_text(NO_DRIVER)
    done = set_up(fresh, wheels, extra={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "none\n", "")
    assert not (fresh / ".venv-vllm").exists()


def test_with_an_old_driver_nothing_happens(fresh: Path, wheels: Path, model: Path) -> None:
    put_nvml(fresh, RTX_3060 | {"driver": "535.183.01"})
    done = set_up(fresh, wheels, "--model-dir", str(model))
    assert (done.returncode, done.stdout) == (0, "unusable\n")
    assert "--model-dir is not used" in done.stderr
    assert not (fresh / ".venv-vllm").exists()


def test_a_copy_that_is_none_is_told_before_anything_is_fetched(
    fresh: Path, wheels: Path, tmp_path: Path
) -> None:
    done = set_up(fresh, wheels, "--model-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the model in {tmp_path} cannot be used: it has no config.json" in done.stderr
    assert not (fresh / ".venv-vllm").exists()


def test_packages_that_cannot_be_had(fresh: Path, wheels: Path, tmp_path: Path) -> None:
    done = set_up(fresh, wheels, extra={"PIP_FIND_LINKS": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip failed; see its message above" in done.stderr
    assert not (fresh / ".venv-vllm/lanscribe-setup.json").exists()


def test_vllm_that_does_not_work_here(fresh: Path, wheels: Path) -> None:
    done = set_up(fresh, wheels, extra={"BROKEN_TORCH": "1"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "vLLM does not work on this machine: torch finds no card" in done.stderr
    assert not (fresh / ".venv-vllm/lanscribe-setup.json").exists()
