"""Sends the log to the terminal and to a file, which is rotated when it grows.

No transcript and no key is ever logged.
"""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.config import LogSettings

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_FILE_BYTES = 5_000_000
_KEPT_FILES = 3


def set_up(settings: LogSettings) -> Path | None:
    """Send the log to stderr and to the file; return the file's path, None without a file.

    If the file cannot be opened, a warning says so and the log goes to stderr only.
    """
    logging.raiseExceptions = False  # a full disk must not turn every line into a traceback
    logging.basicConfig(level=settings.level.upper(), format=_FORMAT)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it logs URLs, and keys with them
    # it logs a traceback for every address that is gone; discovery logs a line instead
    logging.getLogger("zeroconf").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_clients_fault)
    if not settings.file:
        return None
    path = PROJECT_DIR / settings.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            path,
            maxBytes=_FILE_BYTES,
            backupCount=_KEPT_FILES,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        logging.warning("no log file: %s: %s", path, error.strerror)
        return None
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    return path


def _is_not_a_clients_fault(record: logging.LogRecord) -> bool:
    """False for the traceback that uvicorn logs when a client's text frame is not UTF-8."""
    return "Invalid UTF-8" not in record.getMessage()
