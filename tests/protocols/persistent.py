"""The client of docs/clients.md in Python, member for member, so that its logic is tested.

The document's `Story` and `Stitch` are those of the terminal clients.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from clients import protocol
from clients.stitch import Said
from clients.story import Story
from tests.contract import contract
from tests.support import DEADLINE_S, Event

RATE_HZ = 16_000
RETRY_S = 0.01


class SpeechLog:
    """What was said: the newest audio by its absolute sample, and where utterances end."""

    def __init__(self, kept_samples: int = 300 * RATE_HZ) -> None:
        self.kept_samples = kept_samples
        self._ring = bytearray(2 * kept_samples)
        self.ends: list[int] = []
        self.end = 0
        self._write_at = 0

    @property
    def first(self) -> int:
        return max(0, self.end - self.kept_samples)

    def start_of(self, utterance: int) -> int:
        return self.ends[utterance - 1] if utterance else 0

    def append(self, pcm16: bytes) -> None:
        for byte in pcm16:
            self._ring[self._write_at] = byte
            self._write_at = (self._write_at + 1) % len(self._ring)
        self.end += len(pcm16) // 2

    def read(self, start: int, count: int) -> bytes:
        pcm16 = bytearray(2 * count)
        for index in range(max(0, 2 * (self.first - start)), len(pcm16)):
            pcm16[index] = self._ring[(2 * start + index) % len(self._ring)]
        return bytes(pcm16)


class Lanscribe:
    """A session that outlives its sockets, and is begun anew when the server has lost it."""

    def __init__(
        self,
        address: Callable[[], str],
        *,
        key: str | None = None,
        log: SpeechLog | None = None,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.server = address
        self.model = ""
        self.key = key
        self._log = log or SpeechLog()
        self._tell = tell
        self._finished = asyncio.Event()
        self._channel: ClientConnection | None = None
        self._unsent: asyncio.Queue[str] = asyncio.Queue()
        self._is_greeted = False
        self._is_closing = False
        self._token: str | None = None
        self._seen = 0
        self._base = self._base_utterance = 0
        self._position = self._utterance = 0
        self._is_started = False
        self._done = 0
        self._text = ""
        self._story = Story()

    def add(self, pcm16: bytes) -> None:
        self._log.append(pcm16)
        self._pump()

    def end_utterance(self) -> None:
        self._log.ends.append(self._log.end)
        self._pump()

    async def close(self) -> None:
        if self._log.end > self._log.start_of(len(self._log.ends)):
            self.end_utterance()
        self._is_closing = True
        self._finish_if_done()
        await asyncio.wait_for(self._finished.wait(), DEADLINE_S)
        if self._channel:
            await self._channel.close(1000)

    async def _run(self) -> None:
        while not self._finished.is_set():
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                await self._connect()
            self._is_greeted = False
            await asyncio.sleep(0 if self._finished.is_set() else RETRY_S)

    async def _connect(self) -> None:
        async with connect(self._address(), ping_interval=None, compression=None) as channel:
            self._channel, self._unsent = channel, asyncio.Queue()
            sending = asyncio.create_task(self._send_all(channel))
            try:
                async for message in channel:
                    contract("vllm").check("server", message)
                    self._receive(json.loads(message))
            finally:
                self._channel = None
                sending.cancel()

    async def _send_all(self, channel: ClientConnection) -> None:
        """What the sink of a Dart channel does by itself."""
        with suppress(ConnectionClosed):
            while message := await self._unsent.get():
                await channel.send(message)
            await channel.close(1000)

    def _address(self) -> str:
        query = {"api_key": self.key} if self.key else {}
        if self._token:
            query |= {"resume": self._token, "seen": str(self._seen)}
        return f"{self.server()}/v1/realtime?{urlencode(query)}"

    @property
    def _is_owed(self) -> bool:
        return self._is_started or self._done < self._utterance

    def _receive(self, message: Event) -> None:
        is_of_the_last_session = not self._is_greeted and "seq" in message
        if is_of_the_last_session and message["type"] != "session.created":
            return
        self._seen = message.get("seq", self._seen)
        match message["type"]:
            case "session.created":
                self._begin(message)
            case "session.resumed":
                self._go_on(message)
            case "session.stopping":
                self._start_anew()
            case "transcription.delta":
                self._append(message)
            case "transcription.done":
                self._finish(message)
            case "error":
                self._fail(message)
        self._pump()

    def _begin(self, message: Event) -> None:
        self._token = message.get("resume", {}).get("token")
        is_ended = self._done < len(self._log.ends)
        limit = self._log.ends[self._done] if is_ended else self._log.end
        self._base = min(self._story.safe, limit)
        self._base_utterance = self._done
        self._story.begin(self._base)
        self._send_from(self._base, self._done)
        self._send(type="session.update", model=self.model, resume=True)

    def _go_on(self, message: Event) -> None:
        self._send_from(
            self._base + message["received_samples"],
            self._base_utterance + message["received_commits"],
        )

    def _send_from(self, position: int, utterance: int) -> None:
        self._position = position
        self._utterance = utterance
        self._is_started = False
        self._is_greeted = True
        if position < self._log.first:
            self._tell({"type": "trouble", "code": "audio_gone"})

    def _append(self, message: Event) -> None:
        self._story.sent = self._sent
        self._say(self._story.hear(heard(message), self._now_s()))

    @property
    def _sent(self) -> int:
        ends = self._log.ends
        return min(self._position, ends[self._done]) if self._done < len(ends) else self._position

    def _say(self, pieces: list[Said]) -> None:
        start_s, space = self._log.start_of(self._done) / RATE_HZ, ""
        for text, begin_s, end_s in pieces:
            if begin_s is None:
                space = text
                continue
            joined, space = space + text, ""
            self._text += joined
            times = {"start_s": begin_s - start_s, "end_s": end_s - start_s}
            self._tell({"type": "delta", "text": joined, **times})

    def _now_s(self) -> float:
        return time.monotonic()

    def _finish(self, message: Event) -> None:
        self._story.sent = self._sent
        self._story.is_committed = self._done < self._utterance
        self._say(self._story.end(heard(message)))
        self._note_end(self._story.heard)
        self._tell({"type": "done", "text": self._text})
        self._done += 1
        self._text = ""
        self._story = Story()
        self._story.safe = self._log.start_of(self._done)
        self._story.begin(self._story.safe)
        self._finish_if_done()

    def _note_end(self, sample: int) -> None:
        ends = self._log.ends
        if self._done < len(ends) and sample > ends[self._done] - RATE_HZ // 100:
            return
        ends.insert(self._done, sample)
        self._utterance = self._done + 1
        self._is_started = False
        self._token = None

    def _finish_if_done(self) -> None:
        if self._is_closing and self._done == len(self._log.ends):
            self._finished.set()

    def _fail(self, message: Event) -> None:
        if message["code"] == "resume_failed":
            return self._start_anew()
        self._tell({"type": "trouble", "code": message["code"]})
        if "lost" in message:
            self._start_anew()
        return None

    def _start_anew(self) -> None:
        self._token = None
        self._is_greeted = False
        self._unsent.put_nowait("")

    def _pump(self) -> None:
        while self._channel is not None and self._is_greeted:
            is_ending = self._utterance < len(self._log.ends)
            limit = self._log.ends[self._utterance] if is_ending else self._log.end
            if self._position < limit:
                if not self._is_started:
                    self._send(type="input_audio_buffer.commit", final=False)
                self._is_started = True
                count = min(limit - self._position, RATE_HZ // 10)
                audio = base64.b64encode(self._log.read(self._position, count)).decode()
                self._send(type="input_audio_buffer.append", audio=audio, seen=self._seen)
                self._position += count
            elif is_ending:
                self._send(type="input_audio_buffer.commit", final=True, seen=self._seen)
                self._utterance += 1
                self._is_started = False
            else:
                return

    def _send(self, **message: Any) -> None:
        self._unsent.put_nowait(json.dumps(message))


def heard(message: Event) -> protocol.Event:
    """A message as the terminal clients read it."""
    return protocol.Event(json.dumps(message))


@asynccontextmanager
async def running(one: Lanscribe) -> AsyncIterator[Lanscribe]:
    """Connected, again and again, until this ends."""
    task = asyncio.create_task(one._run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
