"""The page's modules that touch no document: node runs their tests, against what Python answers."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.page import tables
from tests.support import DEADLINE_S

FOLDER = Path(__file__).parent
FILES = sorted(path.name for path in FOLDER.glob("*.test.mjs"))


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Python answers."""
    folder = tmp_path_factory.mktemp("tables")
    tables.write(folder)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_module_of_the_page(node: str, tables_folder: Path, name: str) -> None:
    done = subprocess.run(
        [node, "--expose-gc", "--test", str(FOLDER / name)],
        env={**os.environ, "TABLES_DIR": str(tables_folder)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
