"""A folder of files with a manifest that proves it: written last, so a folder without it is void.

The owner decides what a manifest says; this module reads it, writes it, and checks files
against it. Digests have the model hub's form: sha256:HEX for large files, git:HEX for small ones.
It uses the standard library only, so a check takes no time.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"

Content = Mapping[str, Any]
"""The content of a manifest."""


def read(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest. Raises OSError, or ValueError if it is not an object."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return content


def write(folder: Path, content: Content) -> None:
    """Write the manifest, which states that everything is there. Atomic. Raises OSError."""
    temporary = folder / f".{MANIFEST}.new"
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST)


def fault(folder: Path, what: str, faults: Callable[[Content], Iterable[str]]) -> str | None:
    """The fault of `what`, which should be in the folder, in one line; None if it is whole.

    faults: the faults by the manifest, of which the first counts; it may raise the errors of
    reading a manifest of any shape.
    """
    try:
        return next(iter(faults(read(folder))), None)
    except FileNotFoundError:
        return f"{what} is not in {folder}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / MANIFEST} cannot be used: {error}"


def file_fault(path: Path, digest: str | None, size_bytes: int | None = None) -> str | None:
    """The fault of one file, in one line; None if it has none.

    digest, size_bytes: None if it need not be checked.
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
