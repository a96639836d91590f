"""The table of clients in docs/protocol.md is what the tests have seen."""

from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from tests.protocols import record
from tests.protocols.record import BEGIN, DOCUMENT, END, Row, rows_of, tell, version_of, with_row

ROWS = rows_of(DOCUMENT.read_text(encoding="utf-8"))
EMPTY = f"before\n{BEGIN}| protocol |\n| --- |\n{END}after\n"
ROW = Row("Yap", "`/ws`", "openai", "1.0", "one thing", "a.py")
NEWER = Row("Yap", "`/ws`", "openai", "2.0", "one thing", "a.py")
OTHER = Row("Yap", "`/ws`", "openai", "1.0", "another thing", "a.py")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.client}: {row.did}")
def test_a_row_has_the_version_of_the_locks_and_a_test(row: Row) -> None:
    assert row.version == version_of(row.client)
    test = (PROJECT_DIR / "tests" / row.test).read_text(encoding="utf-8")
    assert row.did in test, "no test does this any more: take the row out"
    assert row.client in test


def test_versions_come_from_the_locks() -> None:
    pinned = (PROJECT_DIR / "requirements/dev.in").read_text(encoding="utf-8")
    assert f"openai=={version_of('openai')}" in pinned.splitlines()
    assert version_of("npm openai").count(".") == 2
    assert version_of("curl") == ""


def test_rows_are_written_in_order_and_replaced_by_newer_ones() -> None:
    document = with_row(with_row(EMPTY, ROW), OTHER)
    assert rows_of(document) == [OTHER, ROW]
    assert with_row(document, ROW) == document
    assert rows_of(with_row(document, NEWER)) == [OTHER, NEWER]
    assert document.startswith("before\n")
    assert document.endswith("after\n")


def test_a_row_that_is_missing_fails_until_it_is_recorded(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(EMPTY)
    with pytest.raises(AssertionError, match=r"one thing(.|\n)*pytest --record a\.py"):
        tell(ROW, document, is_recording=False)
    assert document.read_text() == EMPTY
    tell(ROW, document, is_recording=True)
    tell(ROW, document, is_recording=False)
    assert record.rows_of(document.read_text()) == [ROW]
