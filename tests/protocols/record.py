"""The table of clients in docs/protocol.md: each row is a session that a test has seen end well.

A test calls `ran` when it is done, and fails if the table has no such row. `pytest --record` writes
the row instead. Versions come from the lock files, so a new lock asks for new rows.
"""

import fcntl
import json
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from lanscribe import PROJECT_DIR

DOCUMENT = PROJECT_DIR / "docs/protocol.md"
BEGIN, END = "<!-- rows by pytest --record -->\n", "<!-- end of rows -->\n"
PYTHON_LOCKS = ("requirements/dev.txt", "requirements/clients.txt")
NODE_LOCK = PROJECT_DIR / "tests/protocols/node/package-lock.json"


@dataclass(frozen=True, order=True)
class Row:
    """One client, what it did, and the test file that has seen it."""

    protocol: str
    path: str
    client: str
    """A package of PyPI as the locks name it, `npm NAME`, or words if it has no version."""
    version: str
    did: str
    test: str
    """The file, below tests/."""

    def line(self) -> str:
        """The row in Markdown."""
        return f"| {' | '.join(astuple(self))} |\n"

    def is_about(self, other: "Row") -> bool:
        """Whether it is the same row of another version."""
        return self.line().replace(f"| {self.version} |", "", 1) == other.line().replace(
            f"| {other.version} |", "", 1
        )


def version_of(client: str) -> str:
    """Of a package in a lock file; empty for what none of them has."""
    if client.startswith("npm "):
        packages = json.loads(NODE_LOCK.read_text(encoding="utf-8"))["packages"]
        return str(packages[f"node_modules/{client.removeprefix('npm ')}"]["version"])
    for name in PYTHON_LOCKS:
        lock = (PROJECT_DIR / name).read_text(encoding="utf-8")
        if found := re.search(rf"^{re.escape(client)}==(\S+)", lock, re.MULTILINE):
            return found[1]
    return ""


def rows_of(document: str) -> list[Row]:
    """The rows between the marker lines."""
    _, _, rest = document.partition(BEGIN)
    lines = rest.partition(END)[0].splitlines()[2:]  # without the table's head
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def with_row(document: str, row: Row) -> str:
    """The document with this row, in order, instead of one of another version."""
    kept = [one for one in rows_of(document) if not one.is_about(row)]
    before, _, rest = document.partition(BEGIN)
    block, _, after = rest.partition(END)
    head = "".join(block.splitlines(keepends=True)[:2])
    table = head + "".join(one.line() for one in sorted({*kept, row}))
    return before + BEGIN + table + END + after


def tell(row: Row, document: Path, *, is_recording: bool) -> None:
    """Check that a document has the row, or write it. Raises AssertionError."""
    if is_recording:
        with document.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = with_row(file.read(), row)
            file.seek(0)
            file.truncate()
            file.write(text)
    rows = rows_of(document.read_text(encoding="utf-8"))
    assert row in rows, f"not in {document.name}: {row.line()}pytest --record {row.test}"


Ran = Callable[[str, str, str, str], None]
"""Protocol, path, client, what it did."""
