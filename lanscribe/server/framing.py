"""Finds faults in the head of an HTTP request that h11 accepts and RFC 9112 forbids.

A proxy between a client and this server may read such a head in another way, and so find another
end of the request. Decisions without input or output.
"""

import re
from collections.abc import Sequence

MAX_HEAD_BYTES = 2**14
_HEAD_END = re.compile(rb"\n\r?\n")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_VERSION = re.compile(rb"HTTP/1\.[0-9]")
_HTTP_1_0 = b"HTTP/1.0"
_TLS_HANDSHAKE = b"\x16\x03"
_CLIENT_HELLO = b"\x01"
_Headers = Sequence[tuple[bytes, bytes]]


def is_tls(received: bytes) -> bool:
    """Whether it begins with a ClientHello (RFC 8446, sections 4.1.2 and 5.1)."""
    return received[:2] == _TLS_HANDSHAKE and received[5:6] == _CLIENT_HELLO


def head_fault(received: bytes) -> str | None:
    """The fault of the request head at the start of `received`.

    None if it has no fault, or if it is not complete yet.
    """
    end = _HEAD_END.search(received)
    if end is None:
        return None
    head = received[: end.end()]
    if len(head) > MAX_HEAD_BYTES:
        return f"its head has {len(head)} bytes, expected at most {MAX_HEAD_BYTES}"
    lines = head.split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        return "a line of its head ends with a bare CR or LF (RFC 9112, section 2.2)"
    if _CONTROLS.search(head):
        return "its head has a control character (RFC 9110, section 5.5)"
    if any(line[:1] in {b" ", b"\t"} for line in lines[1:]):
        return "a line of its head is folded (RFC 9112, section 5.2)"
    headers = [_header(line) for line in lines[1:-2]]
    return _line_fault(lines[0]) or _body_fault(lines[0], headers) or _upgrade_fault(headers)


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _values(headers: _Headers, name: bytes) -> list[bytes]:
    return [value for one, value in headers if one == name]


def _line_fault(request_line: bytes) -> str | None:
    _, _, rest = request_line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if not target.startswith(b"/"):
        return "its target is not a path that begins with / (RFC 9112, section 3.2.1)"
    if not _VERSION.fullmatch(version):
        return "its version is not HTTP/1.1"
    return None


def _body_fault(request_line: bytes, headers: _Headers) -> str | None:
    """Why the end of the request is in doubt (RFC 9112, section 6)."""
    lengths = _values(headers, b"content-length")
    codings = _values(headers, b"transfer-encoding")
    if len(_values(headers, b"host")) > 1:
        return "it has more than one Host"
    if len(lengths) > 1 or any(not _LENGTH.fullmatch(length) for length in lengths):
        return "its Content-Length is not one whole number"
    if codings and lengths:
        return "it has both Content-Length and Transfer-Encoding"
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return "its Transfer-Encoding is not chunked"
    if codings and request_line.endswith(_HTTP_1_0):
        return "it is HTTP/1.0, which has no Transfer-Encoding"
    return None


def _upgrade_fault(headers: _Headers) -> str | None:
    if not asks_for_websocket(headers):
        return None
    has_length = any(int(length) for length in _values(headers, b"content-length"))
    if has_length or _values(headers, b"transfer-encoding"):
        return "it is a WebSocket handshake, which has no body"
    return None


def asks_for_websocket(headers: _Headers) -> bool:
    """Whether a request asks for an upgrade to WebSocket. headers: their names in lower case.

    All Connection lines count (RFC 9110, section 5.3): livekit's client of Mistral's protocol sends
    `Upgrade`, then `keep-alive`.
    """
    options = b",".join(_values(headers, b"connection")).lower().split(b",")
    upgrades = _values(headers, b"upgrade")
    is_upgrade = b"upgrade" in {option.strip() for option in options}
    return is_upgrade and bool(upgrades) and upgrades[-1].lower() == b"websocket"
