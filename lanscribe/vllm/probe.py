"""Checks an HTTP server: one GET, a bounded answer. Standard library only."""

import asyncio
import http.client
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_BYTES = 2**16
"""The limit for a body; the rest is not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer."""

    status: int
    body: bytes


def get(url: str, timeout_s: float, key: str = "") -> Answer:
    """The answer to a GET of that URL, with `key` as bearer token unless it is empty.

    timeout_s: for each step. Over TLS any certificate is accepted: the answer identifies the
    server. Raises OSError, also if the answer is not HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=timeout_s, context=_trusting_anybody()
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    with closing(connection):
        return _ask(connection, parts.path, key)


async def get_in_thread(url: str, timeout_s: float, key: str = "") -> Answer:
    """The same without TLS, in a thread. timeout_s: for the whole request."""
    parts = urlsplit(url)
    connection = _Connection(parts.netloc, timeout=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(_ask, connection, parts.path, key)
    finally:
        connection.abandon()


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can end."""

    _peer: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self._peer = self.sock  # http.client drops it while it reads a last answer

    def abandon(self) -> None:
        """Close it, so that no thread waits for it any longer."""
        if self._peer is not None:
            with suppress(OSError):  # it has ended
                self._peer.shutdown(socket.SHUT_RDWR)
        self.close()


def _ask(connection: http.client.HTTPConnection, path: str, key: str) -> Answer:
    headers = {"Connection": "close"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return Answer(response.status, response.read(LONGEST_BYTES))
    except http.client.HTTPException as error:
        raise ConnectionError("the answer is not HTTP") from error


def _trusting_anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
