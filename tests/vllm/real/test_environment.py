"""The script that makes the environment, where it need not make one."""

import os
import subprocess
import sys
from pathlib import Path

from lanscribe import PROJECT_DIR

SCRIPT = PROJECT_DIR / "tests/vllm/real/environment.sh"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), "--python", sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_second_run_finds_it_whole(vllm_environment: Path) -> None:
    again = run()
    assert again.returncode == 0
    assert again.stdout.splitlines() == [str(vllm_environment)]
    assert "it is there and whole" in again.stderr
    assert "making" not in again.stderr


def test_without_packages_it_fails_and_the_next_run_starts_anew(tmp_path: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        failed = run("--store", str(tmp_path / "store"), **nowhere)
        assert failed.returncode == 1
        assert failed.stdout == ""
        assert "making" in failed.stderr
        assert "cannot install torch==2.13.0+cpu" in failed.stderr


def test_an_unknown_flag_is_wrong_usage() -> None:
    assert run("--colour").returncode == 2
