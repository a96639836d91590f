"""The documents tell of everything they promise to tell of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe.errors import CODES, LanscribeError
from tests.conftest import PROJECT_DIR

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


@pytest.mark.parametrize(
    ("program", "document"),
    [
        (["-m", "lanscribe", "serve"], "docs/operations.md"),
        (["stream_microphone.py"], "docs/clients.md"),
        (["test_file_transcribe.py"], "docs/clients.md"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_the_documents_have_every_flag(program: list[str], document: str) -> None:
    text = (PROJECT_DIR / document).read_text(encoding="utf-8")
    command = [sys.executable, *program, "--help"]
    shown = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    flags = set(re.findall(r"--[a-z_-]+", shown.stdout.partition("options:")[2]))
    assert flags > {"--help", "--model"}
    missing = {flag for flag in flags - {"--help", "--audio-path"} if f"`{flag}" not in text}
    assert not missing
