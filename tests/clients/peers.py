"""Servers that a client may meet instead of a good one."""

import json
import socket
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


@contextmanager
def web(status: HTTPStatus, body: str = "", **headers: str) -> Iterator[str]:
    """A web server that gives the same answer to every request; gives its host:port.

    headers: with _ for -.
    """

    def answer(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(status, body)
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    with serve(lambda _: None, "127.0.0.1", 0, process_request=answer) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield "{}:{}".format(*running.socket.getsockname())
        running.shutdown()
    thread.join()


@contextmanager
def raw(answer: bytes) -> Iterator[str]:
    """A server that sends these bytes, whatever comes, and closes; gives its host:port."""

    def serve_all() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_all)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
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
