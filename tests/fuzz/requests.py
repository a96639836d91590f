"""Requests that are good, and requests whose end is in doubt (RFC 9112)."""

_HOST = b"Host: localhost\r\n"
_GET = b"GET /health HTTP/1.1\r\n" + _HOST
_POST = b"POST /v1/models HTTP/1.1\r\n" + _HOST
_UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
HANDSHAKE = b"GET /v1/realtime HTTP/1.1\r\n" + _HOST + _UPGRADE + b"\r\n"
GOOD = [
    _GET + b"\r\n",
    _GET + b"X-Empty:\r\nX-Tabs:\ta\tb \r\n\r\n",
    b"GET /v1/models?a=b%20c HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /nothing HTTP/1.1\r\n" + _HOST + b"Content-Length: 0\r\n\r\n",
    _POST + b"Content-Length: 5\r\n\r\nhello",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
]
"""None of them may be answered with 400."""
FAULTS = {
    "two lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": _POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "length below zero": _POST + b"Content-Length: -1\r\n\r\n",
    "length with a sign": _POST + b"Content-Length: +5\r\n\r\nhello",
    "length in hexadecimal": _POST + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": _POST + b"Content-Length:\r\n\r\n",
    "length without end": _POST + b"Content-Length: " + 5000 * b"9" + b"\r\n\r\n",
    "length and coding": _POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding that is not chunked": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding in disguise": _POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "coding in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk below zero": _POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunk without end": _POST + b"Transfer-Encoding: chunked\r\n\r\n" + 30 * b"f" + b"\r\n\r\n",
    "chunk that is no number": _POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
    "chunk longer than it says": _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    "folded": _GET + b"X: a\r\n b\r\n\r\n",
    "folded at once": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "bare LF in a line": _GET + b"X: a\nY: b\r\n\r\n",
    "bare CR": _GET + b"X: a\rY: b\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "no colon": _GET + b"nothing\r\n\r\n",
    "empty name": _GET + b": x\r\n\r\n",
    "zero byte": _GET + b"X: a\x00b\r\n\r\n",
    "control character": _GET + b"X: a\x10b\r\n\r\n",
    "control character in a handshake": HANDSHAKE[:-2] + b"X: a\x7fb\r\n\r\n",
    "absolute target": b"GET http://localhost/health HTTP/1.1\r\n" + _HOST + b"\r\n",
    "target of all": b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n",
    "target of a tunnel": b"CONNECT localhost:1 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\n" + _HOST + b"\r\n",
    "two hosts": _GET + b"Host: other\r\n\r\n",
    "two hosts in 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "version of the future": b"GET / HTTP/9.9\r\n" + _HOST + b"\r\n",
    "empty first line": b"\r\n" + _GET + b"\r\n",
    "handshake with a body": HANDSHAKE[:-2] + b"Content-Length: 5\r\n\r\nhello",
    "handshake with chunks": HANDSHAKE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "handshake with two lengths": HANDSHAKE[:-2]
    + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
}
