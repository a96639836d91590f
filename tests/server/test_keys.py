import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe.errors import ConfigError
from lanscribe.server import keys
from tests.projects import copy_project


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        assert keys.make(path)
    finally:
        os.umask(before)
    made = keys.read(path)
    assert made is not None
    assert len(made) == 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert not keys.others_can_read(path)
    assert not keys.make(path)
    assert keys.read(path) == made


def test_two_keys_differ(tmp_path: Path) -> None:
    for name in "ab":
        keys.make(tmp_path / name)
    assert keys.read(tmp_path / "a") != keys.read(tmp_path / "b")


def test_no_file_is_no_key(tmp_path: Path) -> None:
    assert keys.read(tmp_path / "key") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"k\xc3\xa4", b"a,b"])
def test_a_file_without_a_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a key") as caught:
        keys.read(path)
    assert str(path) in caught.value.public_message
    assert not content.strip() or content.decode() not in caught.value.public_message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.read(tmp_path)


def test_a_mode_that_is_not_safe_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys.make(path)
    path.chmod(0o640)
    assert keys.others_can_read(path)


def test_the_command_for_setup_makes_it_and_does_not_show_it(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b")
    command = [sys.executable, "-P", "-m", "lanscribe", "key", "make"]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    said = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    ]
    key = keys.read(project / "config/key")
    assert key
    assert "config/key" in said[0]
    assert key not in said[0]
    assert said[1] == ""


@pytest.mark.parametrize("key", ["x", "elevenchars"])
def test_a_key_that_could_be_guessed_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "key"
    path.write_text(key + "\n")
    with pytest.raises(ConfigError, match="at least 12") as caught:
        keys.read(path)
    assert str(path) in caught.value.public_message
    assert key == "x" or key not in caught.value.public_message
    path.write_text("twelve-chars")
    assert keys.read(path) == "twelve-chars"


def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path, link = tmp_path / "key", tmp_path / "link"
    path.write_text("the-old-key-of-it\n")
    path.chmod(0o644)
    link.symlink_to(path)
    keys.replace(link)
    made = keys.read(path)
    assert made is not None
    assert made != "the-old-key-of-it"
    assert path.stat().st_mode & 0o777 == 0o600
    assert link.is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["key", "link"]


def test_a_key_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(OSError, match="directory"):
        keys.replace(tmp_path / "key")
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    with pytest.raises(FileNotFoundError):
        keys.replace(tmp_path / "none" / "key")


def test_a_pipe_in_the_place_of_the_key_is_named_at_once(tmp_path: Path) -> None:
    """Nobody writes to it, so to read it would last for ever."""
    os.mkfifo(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot be read: it is not a regular file"):
        keys.read(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.read(Path("/dev/zero"))


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    with (tmp_path / "key").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="not a key"):
        keys.read(tmp_path / "key")


def test_a_full_disk_leaves_no_file_and_the_next_try_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            keys.make(tmp_path / "key")
        assert list(tmp_path.iterdir()) == []
    assert keys.make(tmp_path / "key")
    kept = keys.read(tmp_path / "key")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            keys.replace(tmp_path / "key")
    assert keys.read(tmp_path / "key") == kept


def test_only_an_empty_file_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").write_text("x")
    (tmp_path / "empty").touch()
    found = [name for name in ("pipe", "full", "empty", "none") if keys.is_empty(tmp_path / name)]
    assert found == ["empty"]
