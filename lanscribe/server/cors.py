"""What pages of other sites may ask and read (CORS, WHATWG Fetch): decisions without I/O.

Every page may ask, because the answer to a preflight admits nobody: the request itself needs the
key. No page's credentials are ever asked for, so a cookie opens nothing here.
"""

import re
from collections.abc import Mapping

METHODS = "GET, HEAD, POST"
EXPOSED = "Lanscribe-Missing, Lanscribe-Track, Retry-After, WWW-Authenticate"
"""Headers of answers that a page may read, besides those that it always may."""
MAX_AGE_S = 7200
"""For how long a browser may remember a preflight; Chromium remembers none for longer."""
_MOST_LETTERS = 1000
_ASKED_HEADERS = "Access-Control-Request-Headers"
_ASKED_NETWORK = "Access-Control-Request-Private-Network"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]*", re.ASCII)
"""Field names in a list (RFC 9110, section 5.6)."""
_ORIGIN = re.compile(r"[!-~]{1,300}", re.ASCII)


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks if a page may send a request."""
    return method == "OPTIONS" and {"origin", "access-control-request-method"} <= {*headers}


def preflight_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the answer to a preflight: every page may send what it wants to send.

    A request from a public page to a private address wants a word of its own (Chromium's Private
    Network Access).
    """
    answer = answer_headers(headers.get("origin", ""))
    answer["Vary"] = f"Origin, {_ASKED_HEADERS}, {_ASKED_NETWORK}"
    answer["Access-Control-Allow-Methods"] = METHODS
    answer["Access-Control-Max-Age"] = str(MAX_AGE_S)
    asked = headers.get(_ASKED_HEADERS.lower(), "")
    if asked and len(asked) <= _MOST_LETTERS and _HEADER_NAMES.fullmatch(asked):
        answer["Access-Control-Allow-Headers"] = asked
    if headers.get(_ASKED_NETWORK.lower()) == "true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return answer


def answer_headers(origin: str) -> dict[str, str]:
    """The headers by which the page of `origin` may read an answer; none for no Origin.

    Never Access-Control-Allow-Credentials: a page that sends its cookies reads nothing.
    """
    if not _ORIGIN.fullmatch(origin):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED,
    }
