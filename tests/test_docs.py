"""The documents tell of everything they promise to tell of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.errors import CODES, LanscribeError

PROTOCOL = (PROJECT_DIR / "docs/protocol.md").read_text(encoding="utf-8")
DOCUMENTS = [*PROJECT_DIR.glob("*.md"), *PROJECT_DIR.glob("docs/*.md")]


@pytest.mark.parametrize("code", CODES)
def test_the_protocol_lists_every_error_code_with_its_close_code(code: str) -> None:
    if code != "config_invalid":  # never on the wire
        close_code = CODES[code].close_code
        assert f"| `{code}` | {close_code or '-'} |" in PROTOCOL


def test_an_unlisted_code_is_a_defect() -> None:
    with pytest.raises(KeyError):
        LanscribeError("no_such_code", "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_readme_has_every_flag() -> None:
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    programs = (["-m", "lanscribe", "serve"], ["stream_microphone.py"], ["test_file_transcribe.py"])
    for program in programs:
        command = [sys.executable, *program, "--help"]
        shown = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
        flags = set(re.findall(r"--[a-z_-]+", shown.stdout.partition("options:")[2]))
        assert flags > {"--help", "--model"}
        missing = {flag for flag in flags - {"--help", "--audio-path"} if f"`{flag}" not in text}
        assert not missing
