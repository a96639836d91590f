"""The files of secrets: the key for clients outside the home network. Standard library only."""

import errno
import os
import secrets
import stat
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.errors import ConfigError
from lanscribe.identity import secret_files

KEY_FILE = PROJECT_DIR / "config" / "key"
_KEY_BYTES = 32
LEAST_LETTERS = 12
"""With 64 different letters that is 72 bits, too many to guess over a network."""
_MOST_BYTES = 2**12


def make(path: Path = KEY_FILE) -> bool:
    """Write a new key that only the owner can read; False if the file exists. Raises OSError."""
    try:
        secret_files.create(path, _new())
    except FileExistsError:
        return False
    return True


def replace(path: Path) -> None:
    """Put a new key in the place of the old one, whole at every moment.

    The file of a symbolic link is replaced, not the link. Raises OSError.
    """
    secret_files.put(Path(os.path.realpath(path)), _new())


def is_empty(path: Path) -> bool:
    """Whether it is an empty file, as a full disk could leave one before files were put whole."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _new() -> bytes:
    return f"{secrets.token_urlsafe(_KEY_BYTES)}\n".encode("ascii")


def read(path: Path, command: str = "bash serve.sh key new") -> str | None:
    """The key in a file; None if it is absent. Raises ConfigError if it holds no valid key.

    command: what puts another key there.
    """
    try:
        key = secret_files.read(path, _MOST_BYTES).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
        key = ""
    except UnicodeDecodeError:
        key = ""
    check(key, str(path), f"{command} replaces it")
    return key


def check(key: str, place: str, remedy: str) -> None:
    """Raise ConfigError if a key is short, or cannot be sent in a header or a subprotocol.

    place: where it was given. remedy: what to do about a wrong one.
    """
    if not key or not all("!" <= letter <= "~" and letter not in ',"' for letter in key):
        raise ConfigError(
            f"{place}: not a key: it should be one line of ASCII letters and digits; {remedy}"
        )
    if len(key) < LEAST_LETTERS:
        raise ConfigError(
            f"{place}: got a key of {len(key)} letters; expected at least {LEAST_LETTERS}, so that"
            f" it cannot be guessed; {remedy}"
        )


def others_can_read(path: Path) -> bool:
    """Whether the file's mode lets anybody but its owner read or change it."""
    return bool(path.stat().st_mode & 0o077)
