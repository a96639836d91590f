"""A server that hears numbers as the fake engine does, and breaks where it is told to."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

FRAME_BYTES = 2_560
FRAME_S = 0.08


@dataclass
class Break:
    """After `words` words of a connection, do what `way` says."""

    words: int
    way: str


class NumberServer:
    """One connection after the other; each may have its break.

    has_times: send start_s, end_s and duration_s. delay_frames: write a word that much later, as
    bare vLLM does. is_han: write each as one letter, see `han`. tells: greet as a server that can
    resume, and tell the words that are late to a client that asks for tentative ones.
    """

    def __init__(
        self,
        breaks: Sequence[Break] = (),
        *,
        has_times: bool = True,
        delay_frames: int = 0,
        is_han: bool = False,
        tells: bool = False,
    ) -> None:
        self._breaks = deque(breaks)
        self._has_times = has_times
        self._delay_frames = delay_frames
        self._is_han = is_han
        self._tells = tells
        self.wishes: list[dict[str, Any]] = []
        """What each session.update asked for."""
        self.connections = 0

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._break = self._breaks.popleft() if self._breaks else None
        self._frames = self._words = 0
        self._late = deque([""] * self._delay_frames)
        pcm16 = b""
        resume = {"resume": {"token": "t", "keep_s": 60.0}} if self._tells else {}
        await send(connection, type="session.created", id="sess-1", created=1, **resume)
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "input_audio_buffer.append":
                pcm16 += base64.b64decode(event["audio"])
                while len(pcm16) >= FRAME_BYTES:
                    frame, pcm16 = pcm16[:FRAME_BYTES], pcm16[FRAME_BYTES:]
                    if not await self._hear(connection, frame):
                        return
            elif event["type"] == "session.update":
                self.wishes.append(event)
            elif event.get("final"):
                while self._late:
                    await self._say(connection, self._late.popleft())
                await self._done(connection)

    async def _hear(self, connection: ServerConnection, frame: bytes) -> bool:
        """Listen to a frame; whether the connection is still good."""
        self._frames += 1
        number = int(np.frombuffer(frame, dtype="<i2")[0])
        self._late.append(str(number) if number else "")
        word = self._late.popleft()
        await self._say(connection, word)
        if word and self._break and self._words == self._break.words:
            await self._fail(connection, self._break.way)
            return False
        return True

    async def _say(self, connection: ServerConnection, word: str) -> None:
        self._words += bool(word)
        text = f" {word}" if word and self._words > 1 else word
        if self._is_han:
            text = han(word)
        times = {"end_s": self._frames * FRAME_S} if self._has_times else {}
        if word and times:
            times["start_s"] = times["end_s"] - FRAME_S
        more = times | ({"tentative": tentative} if (tentative := self._tentative()) else {})
        await send(connection, type="transcription.delta", delta=text, **more)

    def _tentative(self) -> str:
        """The words that were heard and are late; each word has a space unless it is the first."""
        words = [word for word in self._late if word]
        if not words or not self._tells or not self.wishes[-1].get("tentative"):
            return ""
        return ("" if not self._words else " ") + " ".join(words)

    async def _done(self, connection: ServerConnection) -> None:
        times = {"duration_s": self._frames * FRAME_S} if self._has_times else {}
        await send(connection, type="transcription.done", text="", **times)

    async def _fail(self, connection: ServerConnection, way: str) -> None:
        match way:
            case "vanish":
                connection.transport.abort()
            case "error":
                await send(connection, type="error", error="broken", code="processing_error")
            case "junk":
                await connection.send("junk")
            case "done":
                await self._done(connection)
            case "cut":
                await send(connection, type="session.stopping")
                await self._say(connection, self._late.popleft())
                await self._done(connection)
        codes = dict.fromkeys(("stop", "cut"), (1001, "server_stopping")) | {"close": (1000, "")}
        if way in codes:
            closing = asyncio.create_task(connection.close(*codes[way]))
        # Read on: a close waits behind what the client has already sent.
        with suppress(ConnectionClosed):
            async for _ in connection:
                pass
        if way in codes:
            await closing


def han(number: str) -> str:
    """A number as a Chinese letter, each tenth with a comma behind it; "" as it is."""
    return number and chr(0x4E00 + int(number)) + ("\uff0c" if number.endswith("9") else "")


async def send(connection: ServerConnection, **event: Any) -> None:
    """Send an event."""
    await connection.send(json.dumps(event))
