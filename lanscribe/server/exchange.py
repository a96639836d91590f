"""One HTTP request and its answer, within bounds.

The request is a form with a file, which is bounded in size, stored on the disk and never idle for
long. The answer is a response, server-sent events, or an error, which is sent at once.
"""

import asyncio
import errno
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanscribe import errors
from lanscribe.dialects.json_text import to_json
from lanscribe.errors import LanscribeError, LimitError, ProtocolError
from lanscribe.server.http_errors import error_content, error_response
from lanscribe.server.uploads import Upload
from lanscribe.session.bounds import Bounds
from lanscribe.session.pace import Pace

log = logging.getLogger(__name__)

_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 2**16
"""The largest field except the file; a prompt may be long."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Bounds) -> None:
        self.upload = Upload(time.monotonic())
        """How much of the body has arrived."""
        self._scope = scope
        self._headers = Headers(scope=scope)
        self._receive = receive
        self._send = send
        self._limits = limits
        self._is_read = False
        self._is_streaming = False
        self.so_far: dict[str, Any] = {}
        """What an error reports of the work done before it."""

    @property
    def request(self) -> Request:
        """The head of the request; its body is read here alone."""
        return Request(self._scope)

    @property
    def address(self) -> str:
        """The address of the sender."""
        client: tuple[str, int] | None = self._scope.get("client")
        return client[0] if client else "unknown"

    @asynccontextmanager
    async def form(self) -> AsyncIterator[FormData]:
        """Read the form; its files exist as long as the context does.

        Raises ProtocolError, LimitError or LanscribeError when it cannot be read or stored, and
        ClientDisconnect when the client leaves before its end.
        """
        self._check_head()
        form = await self._parsed()
        self.upload.is_whole = True
        try:
            await asyncio.to_thread(_store, form)
            yield form
        finally:
            await form.close()

    async def body(self, most_bytes: int) -> bytes:
        """Read a small body whole.

        Raises ProtocolError or LimitError when it is too large or slow, and ClientDisconnect when
        the client leaves before its end.
        """
        longest_s = self._limits.handshake_timeout_s
        try:
            async with asyncio.timeout(longest_s):
                return await self._whole(most_bytes)
        except TimeoutError as error:
            raise LimitError(
                "idle_timeout", f"the request was not whole after {longest_s:g} s; send it again"
            ) from error

    async def _whole(self, most_bytes: int) -> bytes:
        body = bytearray()
        while not self._is_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            self._is_read = not message.get("more_body", False)
            if len(body) > most_bytes:
                raise ProtocolError(
                    "invalid_request",
                    f"got a body of more than {most_bytes} bytes; this request takes no more",
                )
        return bytes(body)

    async def until_gone(self) -> None:
        """Wait until the client leaves, then raise ClientDisconnect. The form must be read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async def respond(self, response: Response) -> None:
        """Answer with `response`."""
        await response(self._scope, self._receive, self._send)

    async def begin_events(self) -> None:
        """Begin an answer of server-sent events."""
        self._is_streaming = True
        head = [(b"content-type", b"text/event-stream; charset=utf-8")]
        head += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    async def event(self, event: dict[str, Any], *, is_last: bool = False) -> None:
        """Send an event. Raises ClientDisconnect when the client reads nothing for too long."""
        data = f"data: {to_json(event)}\n\n".encode()
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._send(
                    {"type": "http.response.body", "body": data, "more_body": not is_last}
                )
        except TimeoutError as error:
            raise ClientDisconnect from error

    async def refuse(self, error: LanscribeError) -> None:
        """Send the error at once, then read and drop the rest of the request for a limited time.

        Some clients read an answer only after they have sent everything.
        """
        if self._is_streaming:
            with suppress(ClientDisconnect):
                content = error_content(error, self.so_far)
                await self.event({"type": "error"} | content, is_last=True)
            return
        response = error_response(error, so_far=self.so_far)
        if not self._is_read:
            response.headers["Connection"] = "close"
        head = {"status": response.status_code, "headers": response.raw_headers}
        await self._send({"type": "http.response.start"} | head)
        body = {"type": "http.response.body", "body": response.body, "more_body": True}
        await self._send(body)
        await self._discard()
        await self._send({"type": "http.response.body"})

    async def _discard(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.send_timeout_s):
                while not self._is_read:
                    message = await self._receive()
                    self._is_read = not message.get("more_body", False)

    def _check_head(self) -> None:
        kind = self._headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "multipart/form-data":
            raise ProtocolError(
                "invalid_request",
                f"got the Content-Type {kind[:100]!r}; send a form as multipart/form-data, with the"
                " sound in its field file",
            )
        coding = self._headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":
            raise ProtocolError(
                "invalid_request",
                f"got the Content-Encoding {coding[:100]!r}, which is not supported; send the form"
                " without it",
            )
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.upload_bytes:
            raise self._too_large(f"{int(length)} bytes")

    async def _parsed(self) -> FormData:
        head = _without_charset(self._headers["content-type"])
        request = Request({"type": "http", "headers": head.raw}, self._paced())
        try:
            with _on_the_disk():
                return await request.form(
                    max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
                )
        except MultiPartException as error:
            raise ProtocolError(
                "invalid_request", f"the form cannot be read: {error.message}"
            ) from error

    def _paced(self) -> Receive:
        """Receive the body: counted, bounded, and no faster than a client may send.

        A form without its end has another part, which raises MultiPartException.
        """
        limits, upload = self._limits, self.upload
        pace = Pace(limits.messages_per_s, limits.bytes_per_s, limits.message_bytes)
        end = _End(_boundary(self._headers["content-type"]))

        async def receive() -> Message:
            if self._is_read:
                raise MultiPartException("the upload is cut off, its last boundary is missing")
            message = await self._next_part()
            self._is_read = not message.get("more_body", False)
            if message["type"] == "http.request":
                upload.received_bytes += len(message["body"])
                if upload.received_bytes > limits.upload_bytes:
                    raise self._too_large(f"more than {limits.upload_bytes} bytes")
                end.feed(message["body"])
                message["more_body"] = not (self._is_read and end.has_come)
                await asyncio.sleep(pace.wait_s(len(message["body"]), time.monotonic()))
            return message

        return receive

    async def _next_part(self) -> Message:
        longest_s = min(self._limits.idle_timeout_s, self._limits.send_timeout_s)
        try:
            async with asyncio.timeout(longest_s):
                return await self._receive()
        except TimeoutError as error:
            raise LimitError(
                "idle_timeout", f"no more of the upload arrived for {longest_s:g} s"
            ) from error

    def _too_large(self, got: str) -> LimitError:
        return LimitError(
            "upload_too_large",
            f"got {got}; this server takes uploads of up to {self._limits.upload_bytes}"
            " (limits.upload_bytes); send FLAC or Opus instead of WAV, or a part at a time",
        )


def answering(serve: Callable[[Exchange], Awaitable[None]], limits: Bounds) -> ASGIApp:
    """An application that serves one request at a time by `serve`, and answers every failure."""

    class Application:
        """An object, because Starlette takes a bare function for an endpoint."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            exchange = Exchange(scope, receive, send, limits)
            try:
                await serve(exchange)
            except ClientDisconnect:
                log.info("a client left before it was answered: %s", scope["path"])
            except LanscribeError as error:
                log.info("%s: refused: %s", scope["path"], error)
                await exchange.refuse(error)
            except Exception:
                log.exception("a request ended by a defect of the server")
                await exchange.refuse(errors.defect())

    return Application()


class _End:
    """Looks for the end of a form: the parser takes one that is cut off for a whole one."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"--" + boundary + b"--"
        self._tail = b""
        self.has_come = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the form."""
        joined = self._tail + data
        self.has_come = self.has_come or self._delimiter in joined
        self._tail = joined[-len(self._delimiter) :]


@contextmanager
def _on_the_disk() -> Iterator[None]:
    """Raises LanscribeError when there is no room for what is written in the context."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise LanscribeError(
            "storage_full",
            f"the server has no room for the upload: {error.strerror}; free some space in its"
            " folder for temporary files, or set TMPDIR to a larger one",
        ) from error


def _store(form: FormData) -> None:
    """Write the files of a form to the disk, where another process can read them."""
    with _on_the_disk():
        for upload in form.values():
            if isinstance(upload, UploadFile):
                upload.file.fileno()
                upload.file.flush()


def _boundary(content_type: str) -> bytes:
    return parse_options_header(content_type)[1].get(b"boundary", b"")


def _without_charset(content_type: str) -> Headers:
    """The form's head without its charset, since names and values are UTF-8 (RFC 7578, 5.1.2).

    Some of Python's codecs raise errors that no parser expects, take seconds, or make text that is
    not Unicode.
    """
    boundary = _boundary(content_type).decode("latin-1")
    if not boundary:
        return Headers({"content-type": "multipart/form-data"})
    quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
    return Headers({"content-type": f'multipart/form-data; boundary="{quoted}"'})
