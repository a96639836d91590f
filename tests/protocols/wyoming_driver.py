"""Wyoming on a plain TCP socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lanscribe.errors import CODES
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.protocols.driver import Driver, Speaker
from tests.servers import Server
from tests.support import DEADLINE_S, Refused

FORMAT = {"rate": 16_000, "width": 2, "channels": 1}
CHUNK_BYTES = 2048
"""What the wyoming package's own programs send at a time."""


def event(kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    """An event, its data behind the first line, as the wyoming package writes it."""
    body = json.dumps(data or {}).encode()
    header = {"type": kind, "data_length": len(body), "payload_length": len(payload)}
    return json.dumps(header).encode() + b"\n" + body + payload


class WyomingSpeaker(Speaker):
    """One connection; every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._is_open = False
        self._deltas: list[str] = []

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), DEADLINE_S)

    async def read(self) -> tuple[str, dict[str, Any]]:
        """The type and the data of the next event. Raises EOFError at the end."""
        async with asyncio.timeout(DEADLINE_S):
            line = await self._reader.readline()
            if not line:
                raise EOFError
            header = json.loads(line)
            data = await self._reader.readexactly(header.get("data_length", 0))
        return header["type"], json.loads(data or b"{}")

    async def say(self, samples: Samples) -> None:
        if not self._is_open:
            await self.write(event("audio-start", FORMAT))
            self._is_open = True
        audio = samples_to_pcm16(samples)
        for start in range(0, len(audio), CHUNK_BYTES):
            await self.write(event("audio-chunk", FORMAT, audio[start : start + CHUNK_BYTES]))

    async def end(self) -> tuple[list[str], str]:
        await self.write(event("audio-stop"))
        self._is_open = False
        text = ""
        while (answer := await self._next())[0] != "transcript-stop":
            kind, data = answer
            assert kind in {"transcript-start", "transcript-chunk", "transcript"}, answer
            if kind == "transcript":
                text = data["text"]
        deltas, self._deltas = self._deltas, []
        return deltas, text

    async def send_nonsense(self) -> str:
        await self.write(event("transcribe", {"language": 5}))
        return await self.error_code()

    async def error_code(self) -> str:
        """The code of the next error; text before it is kept for `end`."""
        while (answer := await self._next())[0] != "error":
            pass
        return str(answer[1]["code"])

    async def _next(self) -> tuple[str, dict[str, Any]]:
        """The next event; text is kept for `end`."""
        kind, data = await self.read()
        if kind == "transcript-chunk":
            self._deltas.append(data["text"])
        return kind, data


class WyomingDriver(Driver):
    """Home Assistant's protocol."""

    name = "wyoming"

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[WyomingSpeaker]:
        """A client whose session has begun: it asked for a transcript, and a ping came back."""
        reader, writer = await asyncio.open_connection(server.host, server.wyoming_port)
        try:
            speaker = WyomingSpeaker(reader, writer)
            await speaker.write(event("transcribe") + event("ping"))
            kind, data = await speaker.read()
            if kind == "error":
                raise Refused(data["code"], CODES[data["code"]].close_code)
            assert kind == "pong"
            yield speaker
        finally:
            writer.transport.abort()
