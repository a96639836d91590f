"""A folder of files that a manifest proves: it is written last, and without it there is nothing.

What a manifest says is its owner's; here is how it is read and written, and how a file is held to
it. Digests are as the model hub gives them: sha256:HEX of large files, git:HEX of small ones. The
standard library is enough, so that looking takes no time.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"

Content = Mapping[str, Any]
"""What a manifest says."""


def read(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says. Raises OSError, or ValueError when it is no object."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def write(folder: Path, content: Content) -> None:
    """Say that everything is there, in one step. Raises OSError."""
    temporary = folder / f".{MANIFEST}.new"
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST)


def fault(folder: Path, what: str, faults: Callable[[Content], Iterable[str]]) -> str | None:
    """What is wrong with `what`, which should be in a folder, in one line; None when it is whole.

    faults: what is wrong by the manifest, the first of which counts; it may raise what looking
    into a manifest of any shape raises.
    """
    try:
        return next(iter(faults(read(folder))), None)
    except FileNotFoundError:
        return f"{what} is not in {folder}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / MANIFEST} cannot be used: {error}"


def file_fault(path: Path, digest: str | None, size_bytes: int | None = None) -> str | None:
    """What is wrong with one file, in one line; None when it is what it should be.

    digest, size_bytes: None where it need not be looked at.
    """
    try:
        actual_bytes = path.stat().st_size
        if size_bytes not in (None, actual_bytes):
            return f"{path} is damaged: {actual_bytes} bytes, not {size_bytes}"
        if digest is not None and not has_digest(path, digest):
            return f"{path} is damaged: its hash is not {digest}"
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    return None


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
