"""The protocol: how the server is reached, and its messages."""

import json
from typing import Any, TypeVar
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from websockets.asyncio.client import ClientConnection, connect

from clients.address import Server
from clients.terminal import Trouble, plain

CONNECT_S = 10.0  # timeout for the greeting
MESSAGE_BYTES = 2**26  # the longest from the server: it fits the text of a day
BEGIN = '{"type":"input_audio_buffer.commit","final":false}'
END = '{"type":"input_audio_buffer.commit","final":true}'
T = TypeVar("T", bool, int, str)


class Unfollowed(HTTPRedirectHandler):
    """Makes an error of a redirection: the WebSocket would not follow it."""

    def redirect_request(self, *_: Any) -> None:
        """None: it is not followed."""


def first_model(server: Server) -> str:
    """The first model that the server lists. Raises one of CONNECT_ERRORS."""
    request = Request(server.models_url, headers=dict(server.headers))
    secure = HTTPSHandler(context=server.context)
    with build_opener(ProxyHandler({}), Unfollowed, secure).open(request, timeout=10) as reply:
        return str(json.load(reply)["data"][0]["id"])


async def open_socket(url: str, server: Server) -> ClientConnection:
    """A connection to the server, by its address or one that resumes. Raises CONNECT_ERRORS."""
    secure = server.context or True if url.startswith("wss:") else None
    return await connect(
        url,
        ssl=secure,
        additional_headers=server.headers,
        proxy=None,
        ping_timeout=None,
        close_timeout=1,
        max_size=MESSAGE_BYTES,
    )


class Event:
    """A message of the server. Raises Trouble if it does not match the protocol."""

    def __init__(self, message: str | bytes) -> None:
        try:
            fields = dict(json.loads(message))
            fields |= fields.get("resume") or {}
            lost = fields.get("lost") or []
            parts = [lost] if isinstance(lost, dict) else lost  # an error has one part, not a list
            self.kind = str(fields["type"])
            self.code = str(fields.get("code"))
            self.text = plain(
                fields.get("error") or fields.get("delta") or fields.get("text") or ""
            )
            self.tentative = plain(fields.get("tentative") or "")
            self.lost = [(float(part["start_s"]), float(part["end_s"])) for part in parts]
            self.no_speech = dict(fields.get("no_speech") or {})
        except (ValueError, TypeError, LookupError, RecursionError):
            line = f"the server broke the protocol: {message[:60]!r}"
            raise Trouble(f"{line}; is it as new as this client?") from None
        self._fields = fields

    def seconds(self, name: str) -> float | None:
        """The field as a time; None if it is absent or not a time."""
        value = self._fields.get(name)
        return value if isinstance(value, float | int) and 0 <= value < 1e6 else None

    def field(self, name: str, default: T) -> T:
        """The field; `default` if it is absent or has another type."""
        value = self._fields.get(name)
        return value if isinstance(value, type(default)) else default
