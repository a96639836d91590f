"""The programs in docs/clients.md, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.engines.embedded.model_store import sample_path
from tests.servers import Server
from tests.support import DEADLINE_S, words

DOCUMENT = (PROJECT_DIR / "docs/clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```$", DOCUMENT, re.M | re.S)
INTERPRETERS = {"python": [sys.executable, "-c"], "bash": ["bash", "-c"]}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_program_of_the_document_prints_what_was_said(
    embedded_server: Server, tmp_path: Path, number: int
) -> None:
    language, program = BLOCKS[number]
    shutil.copy(sample_path(), tmp_path / "speech.wav")
    address = f"{embedded_server.host}:{embedded_server.port}"
    assert "box:8000" in program
    done = subprocess.run(
        [*INTERPRETERS[language], program.replace("box:8000", address)],
        cwd=tmp_path,
        env=os.environ | {"NO_PROXY": "*", "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [word for word in words(done.stdout) if not word.isdigit()]  # SRT has numbers and times
    assert "fail again fail better" in " ".join(said), done.stdout
