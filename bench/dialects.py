"""The cost of each protocol: latency and processor time per chunk, beside a bare echo.

The same streams as in bench.gateway, in every protocol of the gateway.

    python -m bench.dialects [--streams 20] [--seconds 10] [--rounds 3]
"""

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bench.gateway import AUDIO, CHUNK, ECHO, GATEWAY, Line, Subject, compare, open_line

_FORMAT = {"rate": 16_000, "width": 2, "channels": 1}
_OPENAI_SESSION = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}


class WyomingLine:
    """A Wyoming connection; an event is a line, then its data, then its audio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, kind: str, data: Mapping[str, Any], sound: bytes = b"") -> None:
        """Send an event."""
        header = {"type": kind, "data": data, "payload_length": len(sound)}
        self._writer.write(json.dumps(header).encode() + b"\n" + sound)
        await self._writer.drain()

    async def hear(self) -> str:
        """The type of the next event."""
        header = json.loads(await self._reader.readline())
        await self._reader.readexactly(header.get("data_length", 0))
        return str(header["type"])

    async def exchange(self) -> None:
        """Send a chunk; wait for its text."""
        await self.say("audio-chunk", _FORMAT, b64decode(AUDIO))
        while await self.hear() != "transcript-chunk":
            pass

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def open_wyoming(banner: str) -> Line:
    """A Wyoming connection that has sent one chunk."""
    address = re.search(r"tcp://([\d.]+):(\d+)", banner)
    assert address is not None
    line = WyomingLine(*await asyncio.open_connection(address[1], int(address[2])))
    await line.say("audio-start", _FORMAT)
    await line.exchange()
    return line


def _yap(kind: str, payload: Mapping[str, Any]) -> str:
    ids = {"session_id": "bench", "request_id": "r1"}
    return json.dumps({"type": kind, **ids, "payload": payload})


_OPENERS: Mapping[str, Callable[[str], Awaitable[Line]]] = {
    "vLLM": open_line,
    "OpenAI": partial(
        open_line, opening=[json.dumps({"type": "session.update", "session": _OPENAI_SESSION})]
    ),
    "voxmlx": partial(open_line, opening=[json.dumps({"type": "session.update"})]),
    "Yap": partial(
        open_line,
        path="/ws",
        opening=[_yap("input_audio_buffer.commit", {})],
        chunk=_yap("input_audio_buffer.append", {"audio": AUDIO}),
    ),
    "Mistral": partial(
        open_line,
        path="/v1/audio/transcriptions/realtime",
        opening=[],
        chunk=CHUNK.replace("input_audio_buffer", "input_audio"),
    ),
    "Wyoming": open_wyoming,
}


if __name__ == "__main__":
    gateways = {name: Subject(GATEWAY, opener) for name, opener in _OPENERS.items()}
    asyncio.run(compare({"bare echo": ECHO} | gateways, __doc__))
