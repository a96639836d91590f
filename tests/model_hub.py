"""A model hub for the tests: one repository, in the hub's own layout, with faults on demand.

Large files are not served at once but by a redirect to another address, as the hub sends its
clients to a content network.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    status: int = 0
    """Answer with this status and nothing else."""
    retry_after_s: int | None = None
    """When to come again, said with the status."""
    cut_at: int | None = None
    """Close the connection after so many bytes."""
    content: bytes | None = None
    """Send this instead."""
    ignores_range: bool = False
    before: Callable[[], None] = lambda: None
    """Called before anything is sent."""
    after: Callable[[], None] = lambda: None
    """Called when it has been sent, before the connection is closed."""


@dataclass
class Hub:
    """What the two servers serve, and what they were asked."""

    repository: str
    files: dict[str, bytes]
    large: frozenset[str]
    url: str = ""
    content_url: str = ""
    token: str = ""
    """When set, whoever does not send it is answered 401."""
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    """Of the next answers with a file's content; of the list of files under "listing"."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Announced instead of the true ones."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Server, path, headers in small letters."""

    def ranges(self, name: str) -> list[str]:
        """The Range of each request for a file's content."""
        server = "content" if name in self.large else "hub"
        return [
            headers.get("range", "")
            for asked, path, headers in self.requests
            if asked == server and path.endswith(f"/{name}")
        ]

    def listing(self) -> dict[str, Any]:
        """The answer to /api/models/REPOSITORY?blobs=true."""
        siblings = [self._sibling(name, content) for name, content in self.files.items()]
        return {"id": self.repository, "sha": COMMIT, "siblings": siblings}

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        size = self.sizes.get(name, len(content))
        blob = sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": blob}
        if name in self.large:
            lfs = {"size": size, "sha256": sha256(content).hexdigest(), "pointerSize": 134}
            entry |= {"blobId": "f" * 40, "lfs": lfs}
        return entry


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    server_name: str

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.server_name, path, headers))
        if self.server_name == "content":
            self._send_content(path.removeprefix("/"))
        elif self.hub.token and headers.get("authorization") != f"Bearer {self.hub.token}":
            self._send(401)
        elif path == f"/api/models/{self.hub.repository}":
            self._send_listing()
        else:
            self._send_file(path)

    def _send_listing(self) -> None:
        faults = self.hub.faults["listing"]
        fault = faults.popleft() if faults else Fault()
        if fault.status:
            self._send(fault.status)
        else:
            body = json.dumps(self.hub.listing()).encode()
            self._send(200, fault.content or body, {"Content-Type": "application/json"})

    def _send_file(self, path: str) -> None:
        name = path.removeprefix(f"/{self.hub.repository}/resolve/{COMMIT}/")
        if name not in self.hub.files:
            self._send(404)
        elif name in self.hub.large:
            size = str(len(self.hub.files[name]))
            digest = sha256(self.hub.files[name]).hexdigest()
            linked = {"X-Linked-Size": size, "X-Linked-ETag": f'"{digest}"'}
            location = {"Location": f"{self.hub.content_url}/{name}", "X-Repo-Commit": COMMIT}
            self._send(302, b"", {**location, **linked})
        else:
            self._send_content(name)

    def _send_content(self, name: str) -> None:
        faults = self.hub.faults[name]
        fault = faults.popleft() if faults else Fault()
        fault.before()
        if fault.status:
            later = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s}"}
            self._send(fault.status, headers=later)
            return
        content = self.hub.files[name] if fault.content is None else fault.content
        asked = "" if fault.ignores_range else self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        if start >= len(content):
            self._send(416)
            return
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        rest = content[start:]
        self._send(206 if asked else 200, rest, headers if asked else {}, fault.cut_at)
        fault.after()

    def _send(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        cut_at: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut_at])
        if cut_at is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """One of the hub's two servers, on a free port of 127.0.0.1."""

    def __init__(self, hub: Hub, name: str) -> None:
        members = {"hub": hub, "server_name": name}
        super().__init__(("127.0.0.1", 0), type("Answer", (_Answer,), members))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""
