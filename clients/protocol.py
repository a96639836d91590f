"""The protocol: the address of the server, its messages, and what its errors mean."""

import argparse
import json
import os
import re
import sys
from contextlib import suppress
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from clients.output import put
from clients.terminal import Trouble, plain

DEFAULT_URL = "ws://127.0.0.1:8000"
CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
"""The errors of `first_model` and `open_socket` when the server cannot be reached."""
CONNECT_S = 10.0  # timeout for the greeting
MESSAGE_BYTES = 2**26  # the longest from the server: it fits the text of a day
BEGIN = '{"type":"input_audio_buffer.commit","final":false}'
END = '{"type":"input_audio_buffer.commit","final":true}'
PASSING_FAILURE = re.compile(r" 50[234]\b|hung up, (?!1008)")
"""HTTP statuses and close codes after which a retry may help."""

T = TypeVar("T", bool, int, str)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that name the server, the model and the key."""
    url, key = os.environ.get("LANSCRIBE_URL", DEFAULT_URL), os.environ.get("LANSCRIBE_API_KEY")
    parser.add_argument("--url", default=url, help="default: %(default)s")
    parser.add_argument("--model", help="default: the first that the server lists")
    parser.add_argument("--api-key", default=key, help="the key, or LANSCRIBE_API_KEY")


def parse_server_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """The command line, with `url` as a WebSocket address; exits with 2 if it is wrong.

    Raises OutputTrouble if the help cannot be written.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit:
        put(sys.stdout, "")  # tells if the help cannot be written
        raise
    try:
        options.url = realtime_url(options.url)
    except (ValueError, KeyError):
        parser.error(f"--url: got {options.url!r}, expected such as ws://HOST:8000")
    return options


def realtime_url(text: str) -> str:
    """The WebSocket address for a URL, host:port or host. Raises ValueError, KeyError."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    scheme = {"": "ws", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}[parts.scheme]
    host = parts.netloc if parts.scheme or parts.port else f"{parts.netloc}:8000"
    path = parts.path.rstrip("/").removesuffix("/realtime").removesuffix("/v1")
    return urlunsplit((scheme, host, f"{path}/v1/realtime", parts.query, ""))


def authorization(key: str | None) -> dict[str, str]:
    """The headers with the key, if any."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def first_model(url: str, headers: dict[str, str]) -> str:
    """The first model that the server lists. Raises one of CONNECT_ERRORS."""
    request = Request(f"http{url[2:]}".replace("/v1/realtime", "/v1/models"), headers=headers)
    with build_opener(ProxyHandler({})).open(request, timeout=10) as reply:
        return str(json.load(reply)["data"][0]["id"])


async def open_socket(url: str, headers: dict[str, str]) -> ClientConnection:
    """A connection to the server. Raises one of CONNECT_ERRORS."""
    return await connect(
        url,
        additional_headers=headers,
        proxy=None,
        ping_timeout=None,
        close_timeout=1,
        max_size=MESSAGE_BYTES,
    )


def explain(error: Exception, url: str) -> Trouble:
    """A connection error as a line for the person at the terminal."""
    if isinstance(error, ConnectionClosed):
        what = f"it hung up, {error.rcvd or 'without a word'}"
    elif isinstance(error, OSError | WebSocketException):
        what = str(error).strip("<>").replace("503:", "503, it may be loading:")
        what = (what or "it does not answer") + server_reason(error)
    else:
        what = "it names no model"
    line = f"{urlsplit(url).netloc}: {what}: is serve.sh running, are --url and --api-key right?"
    return Trouble(line, passes=bool(PASSING_FAILURE.search(what)))


def server_reason(error: Exception) -> str:
    """The server's own reason for refusing a request; "" if it gives none."""
    with suppress(OSError, HTTPException, ValueError, TypeError, LookupError):
        if isinstance(error, InvalidStatus):
            body = error.response.body
        elif isinstance(error, HTTPError):
            body = error.read(9999)
        else:
            return ""
        return f": {json.loads(body)['error']['message'][:500]}"
    return ""


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
            self.lost = [(float(part["start_s"]), float(part["end_s"])) for part in parts]
            self.no_speech = dict(fields.get("no_speech") or {})
        except (ValueError, TypeError, LookupError, RecursionError):
            raise Trouble(f"the server broke the protocol: {message[:60]!r}") from None
        self._fields = fields

    def seconds(self, name: str) -> float | None:
        """The field as a time; None if it is absent or not a time."""
        value = self._fields.get(name)
        return value if isinstance(value, float | int) and 0 <= value < 1e6 else None

    def field(self, name: str, default: T) -> T:
        """The field; `default` if it is absent or has another type."""
        value = self._fields.get(name)
        return value if isinstance(value, type(default)) else default
