"""Files that only their owner may read, whole at every moment, even after a crash.

Standard library only.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Mark = tuple[int, ...]
"""What tells a file from the one that was there before."""
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_MOST_BYTES = 2**20
"""No certificate with its chain, and no key, is as large."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What link says on a file system without hard links, such as FAT."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, which is made if it is absent. Raises OSError."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are absent, for their owner alone. Raises OSError."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    try:
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise


def read(path: Path, most_bytes: int = _MOST_BYTES) -> bytes:
    """What is in a regular file of limited size; a pipe or a device could last for ever.

    Raises OSError, with EFBIG if the file is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes", str(path))
    return content


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another; who calls it holds the folder's lock. Raises OSError."""
    for left in path.parent.glob(f".{path.name}.*"):  # by a crash
        left.unlink(missing_ok=True)
    put(path, content)


def put(path: Path, content: bytes) -> None:
    """Put a file in the place of another, if there is one; needs no lock. Raises OSError."""
    with _fresh(path, content) as fresh:
        fresh.replace(path)


def create(path: Path, content: bytes) -> None:
    """Put a file where none is. Raises FileExistsError if there is one, or another OSError."""
    with _fresh(path, content) as fresh:
        try:
            os.link(fresh, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "File exists", str(path)) from error
            fresh.replace(path)


@contextmanager
def _fresh(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside a path, whole on the disk, to be given that path. Errors name the path."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield fresh
        _flush(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # it is absent, or its folder is
            fresh.unlink()


def told(error: Exception) -> str:
    """What an error of this module, or of whoever uses it, says to people."""
    if not isinstance(error, OSError) or not error.filename:
        return str(error)
    if error.errno in _FULL:
        folder = Path(error.filename).parent
        return f"cannot write {error.filename}: {error.strerror}; make room on the disk of {folder}"
    if error.errno == errno.EISDIR:
        return f"{error.filename}: it is a folder; expected a file there, or nothing: move it away"
    return (
        f"{error.filename}: {error.strerror}; the folder of server.state_dir has to be one that"
        " this user can write"
    )


def mark(path: Path) -> Mark | None:
    """What changes when a file does, that of a symbolic link; None if it is absent."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _flush(folder: Path) -> None:
    """Let the names in a folder outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
