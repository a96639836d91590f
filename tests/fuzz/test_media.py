"""Files of every kind, damaged: each is sound or a named reason, and the terminal stays clean."""

import subprocess
import sys

import pytest

from lanscribe import PROJECT_DIR

DEADLINE_S = 300
COUNT = 250


@pytest.mark.parametrize("first_seed", [0, 1_000_000])
def test_no_file_is_anything_but_sound_or_a_named_error(first_seed: int) -> None:
    """In a process of its own, which a library may crash or fill."""
    command = [sys.executable, "-m", "tests.fuzz.media", "--seconds", str(DEADLINE_S)]
    command += ["--first-seed", str(first_seed), "--count", str(COUNT)]
    ended = subprocess.run(
        command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    what = f"{ended.stdout[-300:]} exit {ended.returncode}\n{ended.stderr[-3000:]}"
    assert ended.returncode == 0, what
    assert "'sound'" in ended.stdout
    assert "'lacking'" in ended.stdout
    assert "'unreadable'" in ended.stdout
