"""What the two clients have in common, and what they need."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DIR

CLIENTS = [PROJECT_DIR / "stream_microphone.py", PROJECT_DIR / "test_file_transcribe.py"]
BLOCK = re.compile(r"^# >>> .*?^# <<< [^\n]*\n", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"^# /// script\n((?:#(?: [^\n]*)?\n)*?)# ///$", re.MULTILINE)


def header(client: Path) -> dict[str, object]:
    """The inline script metadata, as PEP 723 defines it."""
    (comment,) = HEADER.findall(client.read_text(encoding="utf-8"))
    return tomllib.loads("".join(line[2:] or "\n" for line in comment.splitlines(keepends=True)))


def imported(client: Path) -> set[str]:
    """The packages that a file imports anywhere, without those of Python."""
    names = set()
    for node in ast.walk(ast.parse(client.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names


def test_the_protocol_is_the_same_in_both_and_short() -> None:
    (one,), (other,) = (BLOCK.findall(client.read_text(encoding="utf-8")) for client in CLIENTS)
    assert one == other
    assert len(one.splitlines()) <= 60


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_the_header_names_what_is_imported_and_nothing_else(client: Path) -> None:
    dependencies = header(client)["dependencies"]
    assert isinstance(dependencies, list)
    assert {re.split(r"\W", name)[0] for name in dependencies} == imported(client)
    assert "lanscribe" not in imported(client)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_the_header_asks_for_the_python_of_the_project(client: Path) -> None:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
    assert header(client)["requires-python"] == project["project"]["requires-python"]
