"""What a manifest proves of the files beside it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanscribe import manifest
from lanscribe.manifest import MANIFEST, Content, file_fault, git_digest, has_digest, sha256_digest

EMPTY_BLOB = "git:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
"""As `git hash-object /dev/null` says."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def no_faults(_content: Content) -> Iterator[str]:
    yield from ()


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"files": {"a": "b"}})
    assert manifest.read(tmp_path) == {"files": {"a": "b"}}
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
    assert manifest.fault(tmp_path, "the model", no_faults) is None


def test_without_a_manifest_there_is_nothing(tmp_path: Path) -> None:
    assert manifest.fault(tmp_path, "the model", no_faults) == f"the model is not in {tmp_path}"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ud800"], ids=ascii)
def test_a_manifest_that_is_damaged_is_a_fault(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content.encode("utf-8", "surrogatepass"))
    found = manifest.fault(tmp_path, "the model", no_faults)
    assert found
    assert found.startswith(f"{tmp_path / MANIFEST} cannot be used: ")


def test_a_manifest_of_another_shape_is_a_fault(tmp_path: Path) -> None:
    manifest.write(tmp_path, {})
    found = manifest.fault(tmp_path, "the model", lambda content: content["files"].items())
    assert found == f"{tmp_path / MANIFEST} cannot be used: 'files'"


def test_the_first_fault_counts(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"faults": ["first", "second"]})
    assert manifest.fault(tmp_path, "the model", lambda content: content["faults"]) == "first"


def test_a_file_is_held_to_its_size_and_its_digest(file: Path) -> None:
    digest = sha256_digest(file)
    assert file_fault(file, digest, 7) is None
    assert file_fault(file, None, 6) == f"{file} is damaged: 7 bytes, not 6"
    file.write_bytes(b"Weights")
    assert file_fault(file, None, 7) is None
    assert file_fault(file, digest, 7) == f"{file} is damaged: its hash is not {digest}"
    file.unlink()
    assert file_fault(file, digest) == f"{file} is missing"
    file.mkdir()
    assert (file_fault(file, digest) or "").startswith(f"{file} cannot be read: ")


def test_digests_are_those_of_the_hub(file: Path) -> None:
    assert sha256_digest(file) == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    assert has_digest(file, sha256_digest(file))
    assert has_digest(file, git_digest(file))
    file.write_bytes(b"")
    assert has_digest(file, EMPTY_BLOB)
    assert not has_digest(file, sha256_digest(file).upper())
