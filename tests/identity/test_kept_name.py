import logging
import os
from pathlib import Path

import pytest

from lanscribe.identity.kept_name import FILE_NAME, KeptName


def test_a_name_is_kept_until_the_setting_names_another(tmp_path: Path) -> None:
    name = KeptName(tmp_path / "state", "lanscribe")
    assert name.label == ""
    name.keep("lanscribe-2")
    assert (tmp_path / "state" / FILE_NAME).read_text() == "lanscribe-2\n"
    assert name.label == "lanscribe-2"
    assert next(name.candidates()) == "lanscribe-2"
    assert next(KeptName(tmp_path / "state", "studio").candidates()) == "studio"
    name.keep("lanscribe")
    assert next(name.candidates()) == "lanscribe"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"lanscribe-2/../x", b"lanscribe" * 99])
def test_a_file_that_holds_no_name_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert KeptName(tmp_path, "lanscribe").label == ""


def test_without_a_folder_that_can_be_written_the_server_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    KeptName(tmp_path / "state", "lanscribe").keep("lanscribe")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("cannot keep the name lanscribe.local: ")


def test_the_folder_that_it_makes_is_the_owners_alone(tmp_path: Path) -> None:
    """Secrets are put there too."""
    before = os.umask(0)
    try:
        KeptName(tmp_path / "state", "lanscribe").keep("lanscribe")
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
