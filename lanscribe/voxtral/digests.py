"""Digests of files as the model hub gives them: sha256:HEX of large ones, git:HEX of small ones."""

import hashlib
from pathlib import Path


def sha256_digest(path: Path) -> str:
    """sha256:HEX of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def git_digest(path: Path) -> str:
    """git:HEX, the name that git gives a file's content (SHA-1 over a header and the bytes)."""
    content = path.read_bytes()
    blob = b"blob %d\0" % len(content) + content
    return f"git:{hashlib.sha1(blob, usedforsecurity=False).hexdigest()}"


def has_digest(path: Path, digest: str) -> bool:
    """Whether the file has this digest of either kind."""
    kind = sha256_digest if digest.startswith("sha256:") else git_digest
    return kind(path) == digest
