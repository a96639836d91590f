"""Which path a client meant that has asked for one that is not there: decisions without I/O.

SDKs join a base URL and the path of a request. A base URL with too much or too little in it gives
paths such as /v1/v1/models, /models or /v1/audio/transcriptions/audio/transcriptions.
"""

import re
from collections.abc import Iterable

BASE = "/v1"
"""The path of the base URL that SDKs want."""
_SLASHES = re.compile("/+")


def meant(path: str, known: Iterable[str]) -> str | None:
    """The known path that `path` ends with, with or without /v1; None if there is none.

    Further slashes do not count.
    """
    asked = _SLASHES.sub("/", path).rstrip("/") or "/"
    ends = {one: (one, one.removeprefix(BASE)) for one in known if one != "/"}
    fitting = [one for one, tails in ends.items() if asked.endswith(tails)]
    return max(fitting, key=len, default=None)


def advice(known: str, origin: str) -> str:
    """What to do to get to a known path. origin: such as http://box:8000 or ws://box:8000."""
    if not known.startswith(BASE):
        return f"expected {origin}{known}"
    base = re.sub("^ws", "http", origin) + BASE
    return f"expected {origin}{known}; the base URL of an SDK is {base}"
