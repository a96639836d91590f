"""Files that only their owner may read, whole at every moment, even after a crash."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, which is made if it is absent. Raises OSError."""
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another; who calls it holds the folder's lock. Raises OSError."""
    for left in path.parent.glob(f".{path.name}.*"):  # by a crash
        left.unlink(missing_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    _flush(path.parent)


def told(error: Exception) -> str:
    """What an error of this module, or of whoever uses it, says to people."""
    if isinstance(error, OSError) and error.errno in _FULL and error.filename:
        folder = Path(error.filename).parent
        return f"cannot write {error.filename}: {error.strerror}; make room on the disk of {folder}"
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename}: {error.strerror}; the folder of server.state_dir has to be one that"
            " this user can write"
        )
    return str(error)


def mark(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does, that of a symbolic link; None if it is absent."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _flush(folder: Path) -> None:
    """Let the names in a folder outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
