"""Copies of this project, as a user has them after a clone, for the tests of its scripts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
PARTS = ("setup.sh", "serve.sh", "requirements", "config", "lanscribe")
PACKAGING = ("pyproject.toml", "README.md", "LICENSE")
DEADLINE_S = 600
"""Only so that a hang ends: nothing here is timed."""


def copy_project(target: Path) -> Path:
    """A copy of what the scripts need, without anything that was made by running them."""
    target.mkdir(parents=True)
    for name in (*PARTS, *PACKAGING):
        source = PROJECT_DIR / name
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "local.toml", "key")
            shutil.copytree(source, target / name, ignore=unwanted)
        else:
            shutil.copy(source, target / name)
    return target


def lend_venv(project: Path) -> None:
    """Give a copy a .venv that runs this very Python and has the stamp of a finished setup."""
    write_script(project / ".venv/bin/python", f"exec '{sys.executable}' \"$@\"")
    stamp = "import sys, pathlib, lanscribe.installation as it; it.write_stamp('embedded')"
    subprocess.run(
        [sys.executable, "-P", "-c", stamp],
        env={**os.environ, "PYTHONPATH": str(project)},
        check=True,
    )


def write_script(path: Path, body: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def run_script(
    script: Path, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`bash SCRIPT ARGUMENTS` in the folder cwd."""
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
