"""What is forked for the tests: how it ends. Without vLLM."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import DEADLINE_S
from tests.vllm.real.forker import Forker

UNTIL_KILLED = ("http.server", "0", "--bind", "127.0.0.1")


@pytest.fixture
def forker() -> Iterator[Forker]:
    with Forker(Path(sys.executable), modules=()) as one:
        yield one


def test_what_is_left_ends_with_the_tests(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Forker(Path(sys.executable), modules=()) as forker:
        left = [forker.start(*UNTIL_KILLED, output=log, errors=log) for _ in range(2)]
        assert not any(one.has_ended() for one in left)
    assert all(one.has_ended(DEADLINE_S) for one in left)


def test_a_kill_is_told_by_its_signal(forker: Forker, tmp_path: Path) -> None:
    log = tmp_path / "log"
    one = forker.start(*UNTIL_KILLED, output=log, errors=log)
    os.killpg(one.pid, signal.SIGKILL)
    assert one.wait() == -signal.SIGKILL


def test_a_module_is_run_with_its_environment(forker: Forker, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os, sys; print(sys.argv[1:], os.environ['MINE'])")
    output, errors = tmp_path / "output", tmp_path / "errors"
    place = {"PYTHONPATH": str(tmp_path), "MINE": "yes"}
    one = forker.start("mine", "--a", "b", output=output, errors=errors, **place)
    assert one.wait() == 0, errors.read_text()
    assert output.read_text() == "['--a', 'b'] yes\n"


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("json.tool", ["/nowhere"], "No such file"),
        ("json.tool", ["--colour"], "unrecognized arguments"),
        ("no_such_module", [], "No module named"),
    ],
)
def test_a_failure_is_told(forker: Forker, module: str, arguments: list[str], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        forker.run(module, *arguments)
