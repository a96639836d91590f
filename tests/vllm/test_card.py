"""What vLLM is started with, for the card that is there: in a copy of the project."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lanscribe.installation import VLLM_LOCK
from tests.nvml import RTX_3060, put_nvml
from tests.projects import DEADLINE_S, copy_project, write_script
from tests.voxtral_copy import write_model

Run = subprocess.CompletedProcess[str]
SECOND = RTX_3060 | {"uuid": "GPU-second", "free_mib": 4000}
TELL = """
import json, os, sys
print(json.dumps([*sys.argv[1:], os.environ.get("CUDA_VISIBLE_DEVICES", "")]))
"""
AT_HAND = """
import sys
from lanscribe import config
from lanscribe.vllm import command as vllm_command
sys.exit(not vllm_command.is_at_hand(config.VllmSettings(model_dir=sys.argv[1])))
"""


@dataclass
class Box:
    """A copy of the project, set up for vLLM, which only says how it was started."""

    project: Path
    model: Path

    def start(self, *cards: dict[str, object], **environment: str) -> tuple[list[str], str]:
        """The flags that vLLM gets, and the cards that it sees."""
        done = self.run(["-m", "lanscribe", "direct"], *cards, **environment)
        assert done.returncode == 0, done.stderr
        *flags, seen = json.loads(done.stdout)
        return flags, seen

    def run(self, arguments: list[str], *cards: dict[str, object], **environment: str) -> Run:
        put_nvml(self.project, *cards)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        own = {
            "PYTHONPATH": str(self.project),
            "LANSCRIBE_VLLM_MODEL_DIR": str(self.model),
            "LANSCRIBE_VLLM_PYTHON": str(self.project / "vllm"),
        }
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            env={**kept, **own, **environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("a b")
    project = copy_project(folder / "lanscribe")
    write_model(folder / "model")
    (folder / "model/tekken.json").write_text('{"audio": {"transcription_delay_ms": 480}}')
    (project / "vllm.py").write_text(TELL)
    write_script(project / "vllm", f"exec '{sys.executable}' '{project}/vllm.py' \"$@\"")
    (project / ".venv-vllm").mkdir()
    box = Box(project, folder / "model")
    assert box.run(["-m", "lanscribe", "installation", "write", VLLM_LOCK]).returncode == 0
    return box


def share_of(flags: list[str]) -> str | None:
    """gpu-memory-utilization, where it is not the profile's."""
    name = "--gpu-memory-utilization"
    return flags[flags.index(name) + 1] if name in flags else None


def test_a_3060_gives_what_four_sessions_need(box: Box) -> None:
    flags, seen = box.start(RTX_3060)
    assert flags[flags.index("--config") + 1].endswith("config/vllm/rtx3060-12gb.yaml")
    assert (share_of(flags), seen) == ("0.66", "")


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, "0.63"),
        ({"LANSCRIBE_VLLM_ARGUMENTS": "--gpu-memory-utilization 0.5"}, "0.5"),
        ({"LANSCRIBE_VLLM_ARGUMENTS": "--max-num-seqs 5"}, None),
        ({"LANSCRIBE_VLLM_PROFILE": "fp8-12gb"}, None),
    ],
    ids=["by itself", "by hand", "more sessions", "too large now"],
)
def test_beside_a_desktop_it_gives_what_is_free(
    box: Box, environment: dict[str, str], share: str | None
) -> None:
    flags, _ = box.start(RTX_3060 | {"free_mib": 8100}, **environment)
    assert share_of(flags) == share


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, "GPU-5d8c2a6e"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-5d,GPU-sec"}, "GPU-5d8c2a6e"),
        ({"LANSCRIBE_VLLM_ARGUMENTS": "--data-parallel-size 2"}, ""),
    ],
    ids=["the free one", "the named one", "the free one of those named", "both"],
)
def test_of_two_cards_vllm_sees_the_one_it_was_planned_for(
    box: Box, environment: dict[str, str], seen: str
) -> None:
    assert box.start(SECOND, RTX_3060, **environment)[1] == seen


@pytest.mark.parametrize(
    ("free_mib", "model", "words"),
    [
        (5000, "model", "Voxtral runs on it when 7837 MiB of its memory are free"),
        (11_804, "lanscribe", "it has no config.json"),
        (11_804, "model", ""),
    ],
    ids=["a game runs", "no model", "all is well"],
)
def test_why_the_card_is_not_used_is_told(box: Box, free_mib: int, model: str, words: str) -> None:
    question = ["-c", AT_HAND, str(box.model.with_name(model))]
    done = box.run(question, RTX_3060 | {"free_mib": free_mib})
    assert (done.returncode, words in done.stderr) == (1 if words else 0, True), done.stderr
    assert ("the CPU engine serves" in done.stderr) == bool(words)
