"""OpenAI's REST interface for the conformance suite, on a plain socket.

A request is an utterance: its file goes up as it is said, and its text comes back as server-sent
events. What a request cannot show: words before it has ended, and the last words of one that
never does. tests/server/test_rest.py has what is told instead.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import numpy as np

from lanscribe.errors import CODES
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.protocols.driver import Driver, Speaker
from tests.servers import Server
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S, Event, Refused

PATH = "/v1/audio/transcriptions"
_HEADERS = {
    "Host": "localhost",
    "Content-Type": "multipart/form-data; boundary=next",
    "Transfer-Encoding": "chunked",
    "Expect": "100-continue",
}
_STREAM = b'--next\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
_FILE = b'--next\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n\r\n'
_END = b"\r\n--next--\r\n"


def endless_wave() -> bytes:
    """The head of a WAV file of unknown length, as a program writes it into a pipe."""
    head = bytearray(by_libsndfile(np.zeros(0, np.float32), "WAV"))
    head[4:8] = head[40:44] = b"\xff\xff\xff\xff"
    return bytes(head)


class RestSpeaker(Speaker):
    """One connection, with one request after the other; every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._is_begun = self._has_file = False

    async def begin(self) -> None:
        """Make a request, up to where its file begins. Raises Refused when it is not wanted."""
        await self._write(h11.Request(method="POST", target=PATH, headers=list(_HEADERS.items())))
        answer = await self._read()
        if isinstance(answer, h11.Response):
            code = json.loads(await self._body())["error"]["code"]
            raise Refused(code, CODES[code].close_code)
        assert answer.status_code == 100
        await self._write(h11.Data(data=_STREAM))
        self._is_begun = True

    async def say(self, samples: Samples) -> None:
        """More of the file."""
        if not self._is_begun:
            await self.begin()
        if not self._has_file:
            await self._write(h11.Data(data=_FILE + endless_wave()))
            self._has_file = True
        await self._write(h11.Data(data=samples_to_pcm16(samples)))

    async def end(self) -> tuple[list[str], str]:
        """The end of the form, and everything that is answered."""
        *deltas, done = self._events(await self._answer(200))
        assert {event["type"] for event in deltas} <= {"transcript.text.delta"}
        assert done["type"] == "transcript.text.done"
        return [event["delta"] for event in deltas], done["text"]

    async def send_nonsense(self) -> str:
        """A form without a file."""
        if not self._is_begun:
            await self.begin()
        return str(json.loads(await self._answer(400))["error"]["code"])

    async def _answer(self, status: int) -> bytes:
        """End the request; the body of its answer. The connection is ready for the next one."""
        await self._write(h11.Data(data=_END))
        await self._write(h11.EndOfMessage())
        answer = await self._read()
        assert answer.status_code == status
        body = await self._body()
        self._http.start_next_cycle()
        self._is_begun = self._has_file = False
        return body

    async def _body(self) -> bytes:
        body = b""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            body += event.data
        return body

    @staticmethod
    def _events(body: bytes) -> list[Event]:
        lines = body.decode().removesuffix("\n\n").split("\n\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await asyncio.wait_for(self._writer.drain(), DEADLINE_S)

    async def _read(self) -> h11.Response | h11.InformationalResponse:
        event = await self._next()
        assert isinstance(event, h11.Response | h11.InformationalResponse)
        return event

    async def _next(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await asyncio.wait_for(self._reader.read(65_536), DEADLINE_S))
        assert isinstance(event, h11.Event)
        return event


class RestDriver(Driver):
    """A client that asks before it sends."""

    name = "rest"

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[RestSpeaker]:
        """A client whose first request is wanted."""
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            speaker = RestSpeaker(reader, writer)
            await speaker.begin()
            yield speaker
        finally:
            writer.transport.abort()
