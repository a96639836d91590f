"""Servers that a client may meet instead of a good one."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

Handler = Callable[[ServerConnection], None]
MODELS = {"object": "list", "data": [{"id": "some-model"}]}


@contextmanager
def server(handler: Handler, models: Any = MODELS, port: int = 0) -> Iterator[str]:
    """A WebSocket server that also answers GET /v1/models; gives its host:port."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if request.path != "/v1/models":
            return None
        return connection.respond(HTTPStatus.OK, json.dumps(models))

    def converse(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            handler(connection)

    with serve(converse, "127.0.0.1", port, process_request=answer) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield "{}:{}".format(*running.socket.getsockname())
        running.shutdown()
    thread.join()


def greet(connection: ServerConnection) -> None:
    """Say hello as vLLM does."""
    say(connection, type="session.created", id="sess-1", created=1)


def say(connection: ServerConnection, **event: Any) -> None:
    """Send an event."""
    connection.send(json.dumps(event))


def hear(connection: ServerConnection, kind: str) -> dict[str, Any]:
    """Read on to the next event of type `kind`."""
    while True:
        event = json.loads(connection.recv(timeout=60))
        if event["type"] == kind:
            return dict(event)
