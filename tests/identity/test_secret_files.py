import errno
import os
import stat
from pathlib import Path

import pytest

from lanscribe.identity import secret_files
from tests.identity.boxes import ODD_FILES, put_odd_file


@pytest.mark.parametrize("kind", ODD_FILES)
def test_only_a_regular_file_of_limited_size_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one"
    put_odd_file(path, kind)
    with pytest.raises(OSError, match=r"not a regular|more than 1048576|directory") as caught:
        secret_files.read(path)
    assert caught.value.filename == str(path)


def test_a_file_of_just_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1234")
    assert secret_files.read(tmp_path / "one", 4) == b"1234"
    with pytest.raises(OSError, match="more than 3 bytes"):
        secret_files.read(tmp_path / "one", 3)


@pytest.mark.parametrize("umask", [0, 0o022])
def test_all_folders_that_it_makes_are_the_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        secret_files.make_folder(tmp_path / "state" / "a" / "tls")
        with secret_files.locked(tmp_path / "other" / "tls"):
            pass
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(FileExistsError, match="state"):
        secret_files.make_folder(tmp_path / "state" / "tls")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_created_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Also on a file system without hard links."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    secret_files.create(tmp_path / "one", b"first")
    with pytest.raises(FileExistsError):
        secret_files.create(tmp_path / "one", b"second")
    (tmp_path / "link").symlink_to("absent")
    with pytest.raises(FileExistsError):
        secret_files.create(tmp_path / "link", b"third")
    assert (tmp_path / "one").read_bytes() == b"first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "one"]


def test_a_link_that_fails_otherwise_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="broken"):
        secret_files.create(tmp_path / "one", b"first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("put", [secret_files.put, secret_files.create, secret_files.replace])
def test_a_full_disk_leaves_nothing_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: object
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert callable(put)
    with pytest.raises(OSError, match="No space left") as caught:
        put(tmp_path / "one", b"content")
    assert secret_files.told(caught.value).startswith(
        f"cannot write {tmp_path / 'one'}: No space left"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        secret_files.put(tmp_path / "one", b"content")
    assert secret_files.told(caught.value).startswith(f"{tmp_path / 'one'}: it is a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
