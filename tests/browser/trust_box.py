"""A box that serves what a browser sees first, over http and https, without an engine behind it."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from cryptography import x509
from starlette.applications import Starlette

from lanscribe.identity.authority import Authority
from lanscribe.server import front
from lanscribe.server.trust import Trust
from tests.browser.sites import certificate_for


@dataclass(frozen=True)
class Shown:
    """What the box's TLS door shows."""

    authority: x509.Certificate
    names: tuple[str, ...]
    why_nameless: str = ""


@dataclass(frozen=True)
class TrustBox:
    """Where the box is reached, under any of its names."""

    trust: Trust
    port: int
    secure_port: int

    def url(self, scheme: str, name: str = "box.local") -> str:
        port = self.secure_port if scheme == "https" else self.port
        return f"{scheme}://{name}:{port}/trust"


@contextmanager
def trust_box(authority: Authority, names: Sequence[str], folder: Path) -> Iterator[TrustBox]:
    """A box with a certificate of this authority for these names."""
    certificate = certificate_for(authority, names, folder)
    with _listener() as plain, _listener() as secure:
        trust = Trust(Shown(authority.certificate, tuple(names)), secure.getsockname()[1])
        app = Starlette(routes=front.routes(trust))
        with _served(app, plain), _served(app, secure, str(certificate)):
            yield TrustBox(trust, plain.getsockname()[1], secure.getsockname()[1])


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def _served(
    app: Starlette, listener: socket.socket, certificate: str | None = None
) -> Iterator[None]:
    config = uvicorn.Config(app, ssl_certfile=certificate, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
