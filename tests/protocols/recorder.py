"""A WebSocket relay between a client and a server that records what both say.

It puts real client libraries, whose messages no test sees, under the contract. tests/cutting.py has
the other relay: that one counts bytes and cuts, and knows nothing of messages.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from ssl import SSLContext
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from lanscribe.dialects.events import Message
from tests.contract import Sender, contract
from tests.servers import Server

_OWN_HEADERS = {"host", "connection", "upgrade"}
"""Headers of one connection, together with all of Sec-WebSocket-*."""


@dataclass
class Line:
    """One connection through the recorder."""

    said: list[tuple[Sender, Message]] = field(default_factory=list)
    """Who said what, in the order in which it passed."""
    path: str = ""
    """That the client asked for, without its query."""
    close_code: int | None = None
    """With which the server closed."""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    """Forwards to a server: the path with its query, headers, subprotocols, close codes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._upstream: dict[ServerConnection, ClientConnection] = {}
        self.server = server
        """The same server, behind the recorder."""
        self.lines: list[Line] = []

    async def open_upstream(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Connect to the server; its answer if it refuses."""
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        headers = [
            (name, value)
            for name, value in request.headers.raw_items()
            if name.lower() not in _OWN_HEADERS and not name.lower().startswith("sec-websocket")
        ]
        try:
            self._upstream[connection] = await connect(
                f"ws://{self._server.host}:{self._server.port}{request.path}",
                additional_headers=headers,
                user_agent_header=None,
                subprotocols=[Subprotocol(one.strip()) for one in offered if one] or None,
                compression=None,
                max_size=None,
                ping_interval=None,
            )
        except InvalidStatus as refusal:
            return _plain(refusal.response)
        return None

    def chosen(self, connection: ServerConnection, _: Any) -> Subprotocol | None:
        """The subprotocol that the server chose."""
        return self._upstream[connection].subprotocol

    async def forward(self, connection: ServerConnection) -> None:
        """Pass on what both sides say, until one of them has closed."""
        upstream = self._upstream.pop(connection)
        assert connection.request is not None
        line = Line(path=connection.request.path.partition("?")[0])
        self.lines.append(line)
        up = asyncio.create_task(_copy(connection, upstream, "client", line))
        down = asyncio.create_task(_copy(upstream, connection, "server", line))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            line.close_code = upstream.close_code
            await _close(connection, upstream)
        await _close(upstream, connection)
        await asyncio.gather(up, down)
        line.is_over.set()

    def check(self, channel: str) -> None:
        """Raises Broken when something passed that the contract has not."""
        for line in self.lines:
            for sender, message in line.said:
                contract(channel).check(sender, message)


@asynccontextmanager
async def recording(server: Server, ssl: SSLContext | None = None) -> AsyncIterator[Recorder]:
    """A recorder in front of `server`; over TLS, if a context is given, for clients that insist."""
    recorder = Recorder(server)
    async with serve(
        recorder.forward,
        server.host,
        0,
        process_request=recorder.open_upstream,
        select_subprotocol=recorder.chosen,
        compression=None,
        max_size=None,
        ping_interval=None,
        ssl=ssl,
    ) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        recorder.server = replace(server, port=port)
        yield recorder


async def _copy(
    source: ClientConnection | ServerConnection,
    sink: ClientConnection | ServerConnection,
    sender: Sender,
    line: Line,
) -> None:
    with suppress(ConnectionClosed):
        async for message in source:
            line.said.append((sender, message))
            await sink.send(message)


async def _close(
    one: ClientConnection | ServerConnection, as_did: ClientConnection | ServerConnection
) -> None:
    """Close `one` as the peer of the other closed; cut it if there was no close frame."""
    if as_did.close_code in {None, 1005, 1006}:
        await one.close() if as_did.close_code == 1005 else one.transport.abort()
    else:
        await one.close(as_did.close_code or 1000, as_did.close_reason or "")


def _plain(response: Response) -> Response:
    headers = Headers(
        (name, value)
        for name, value in response.headers.raw_items()
        if name.lower() not in {"transfer-encoding", "connection", "content-length"}
    )
    headers["Content-Length"] = str(len(response.body))
    headers["Connection"] = "close"
    return Response(response.status_code, response.reason_phrase, headers, response.body)
