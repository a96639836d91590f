"""One upload as an ASGI application meets it, without a socket."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message

from lanscribe.errors import LanscribeError
from lanscribe.server.exchange import Exchange
from lanscribe.session.bounds import Bounds

KIND = b"multipart/form-data; boundary=x"
BODY = (
    b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xc3\xa9\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n'
)


def body(*parts: bytes, is_whole: bool = True) -> list[Message]:
    """What the client sends, and whether that is all."""
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    messages[-1]["more_body"] = not is_whole
    return messages


def exchange(
    messages: Sequence[Message], kind: bytes = KIND, limits: Bounds | None = None
) -> Exchange:
    """The exchange of a client that sends these, and then nothing."""
    coming = iter(messages)

    async def receive() -> Message:
        if (message := next(coming, None)) is not None:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError("nothing was to be answered")

    app = object()  # a router leaves it there, and Starlette then raises another error
    scope: dict[str, Any] = {"type": "http", "app": app, "headers": [(b"content-type", kind)]}
    return Exchange(scope, receive, send, limits or Bounds())


async def form_of(one: Exchange) -> FormData:
    async with one.form() as form:
        return form


def refusal(one: Exchange) -> LanscribeError:
    with pytest.raises(LanscribeError) as caught:
        asyncio.run(form_of(one))
    return caught.value


def test_a_form_in_single_bytes_is_the_form() -> None:
    one = exchange(body(*(BODY[at : at + 1] for at in range(len(BODY)))))

    async def read() -> bytes:
        async with one.form() as form:
            assert form["prompt"] == "é"
            file = form["file"]
            assert isinstance(file, UploadFile)
            return await file.read()

    assert asyncio.run(read()) == b"RIFF"
    assert (one.upload.received_bytes, one.upload.is_whole) == (len(BODY), True)


@pytest.mark.parametrize("charset", ["utf-16", "idna", "undefined", "no-such"])
def test_its_texts_are_utf_8_whatever_it_says(charset: str) -> None:
    form = asyncio.run(form_of(exchange(body(BODY), KIND + b"; charset=" + charset.encode())))
    assert form["prompt"] == "é"


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (b"application/x-www-form-urlencoded", b"a=b", "got the Content-Type"),
        (b"multipart/form-data", BODY, "the form cannot be read: Missing boundary"),
        (KIND, b"no form", "the form cannot be read: Invalid multipart data"),
        (KIND, BODY.replace(b'"prompt"', b'"x"; filename="b"'), "Too many files"),
        (KIND, BODY.replace(b"\xc3\xa9", bytes(2**16 + 1)), "maximum size of 64KB"),
        (
            KIND,
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 65 + b"--x--\r\n",
            "Too many fields",
        ),
    ],
    ids=["urlencoded", "no boundary", "no form", "files", "part", "fields"],
)
def test_what_is_no_such_form_is_told(kind: bytes, content: bytes, words: str) -> None:
    error = refusal(exchange(body(content), kind))
    assert error.code == "invalid_request"
    assert words in error.public_message


def test_more_bytes_than_allowed_are_not_waited_for() -> None:
    limits = Bounds(upload_bytes=1024)
    error = refusal(exchange(body(BODY, bytes(1024), is_whole=False), limits=limits))
    assert error.code == "upload_too_large"


def test_a_client_that_stalls_is_told() -> None:
    limits = Bounds(idle_timeout_s=0.01)
    assert refusal(exchange(body(BODY[:50], is_whole=False), limits=limits)).code == "idle_timeout"


def test_a_client_that_leaves_has_left() -> None:
    one = exchange([*body(BODY[:50], is_whole=False), {"type": "http.disconnect"}])
    with pytest.raises(ClientDisconnect):
        asyncio.run(form_of(one))
    assert not one.upload.is_whole


def test_a_form_faster_than_the_pace_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waits_s: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits_s.append(wait_s)

    patient = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})  # other threads have servers
    monkeypatch.setattr("lanscribe.server.exchange.asyncio", patient)
    limits = Bounds(messages_per_s=10)
    parts = [BODY[:1], *[b""] * 149, BODY[1:]]
    asyncio.run(form_of(exchange(body(*parts), limits=limits)))
    at_once = waits_s.index(next(wait_s for wait_s in waits_s if wait_s))
    assert at_once == 100
    assert len(waits_s) == 151
    assert waits_s[-1] == pytest.approx(5, abs=0.5)
