"""A codec and a conversation without a wire, a model or a clock, led by arbitrary bytes."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from lanscribe import errors
from lanscribe.config import ResumeSettings
from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    ClientEvent,
    Delta,
    Failure,
    Message,
    ServerEvent,
    SessionResumed,
)
from lanscribe.dialects.wyoming import HANG_UP, EventSplitter, WyomingDialect, type_of
from lanscribe.engines.base import EngineInfo
from lanscribe.engines.fake import FakeEngine, FakeSession
from lanscribe.errors import (
    CODES,
    ClientError,
    EngineFailed,
    EngineUnavailable,
    LanscribeError,
    ProtocolError,
)
from lanscribe.session.bounds import Bounds
from lanscribe.session.conversation import Conversation
from lanscribe.session.state import Session
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Line
from tests.contract import Broken, contract, document
from tests.fuzz.choices import Choices
from tests.session.memory import settle

_DEADLINE_S = 20
_KEEP_S = 60.0
_INFO = EngineInfo("fake", "m", ("en",), True, None, 8)
_QUERIES: list[dict[str, str]] = [{}, {"intent": "transcription"}, {"model": "m"}, {"model": "?"}]
_WAITING_SAMPLES = 4000
_MOST_MESSAGES = 40
_LARGEST_EVENT_BYTES = 4000
_FORMAT = {"rate": 22050, "width": 2, "channels": 1}
WYOMING: list[dict[str, Any]] = [
    {"type": "describe"},
    {"type": "ping", "data": {"text": "m"}},
    {"type": "transcribe", "data": {"name": "m", "language": "en"}},
    {"type": "audio-start", "data": _FORMAT},
    {"type": "audio-chunk", "data": _FORMAT, "payload_length": 8},
    {"type": "audio-chunk", "data": _FORMAT, "data_length": 2, "payload_length": 40},
    {"type": "audio-stop", "data": {"timestamp": 5}},
]


class _Watched:
    """A dialect that is told of known errors alone, and now and then of a muted microphone."""

    refusal = None

    def __init__(self, dialect: Dialect, choices: Choices) -> None:
        self.name = dialect.name
        self.unnumbered = 0
        """How many messages go to a client that comes back, before those of the outbox."""
        self._dialect = dialect
        self._choices = choices

    def decode(self, message: Message) -> Iterable[ClientEvent]:
        return self._dialect.decode(message)

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        if isinstance(event, Failure):
            assert event.error.code in CODES
        if isinstance(event, Delta) and not event.text and event.lost is None:
            event = replace(event, is_muted=bool(self._choices.number(2)))
        messages = self._dialect.encode(event)
        if isinstance(event, SessionResumed):
            self.unnumbered = len(messages)
        return messages


class _LedEngine(FakeEngine):
    """What it makes of audio, and where it breaks, is in the bytes."""

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self._choices = choices

    def session(self) -> FakeSession:
        return _LedSession(self._choices)


class _LedSession(FakeSession):
    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self._choices = choices

    async def start(self) -> None:
        if self._choices.number(32) == 31:
            raise EngineUnavailable("no engine here")

    async def __aiter__(self) -> AsyncIterator[Token]:
        heard_s = 0.0
        async for token in super().__aiter__():
            text = self._choices.one_of(["", "", "", "a", "a", " né", ".", "lost", "broken", "end"])
            match text:
                case "broken":
                    raise EngineFailed("broken")
                case "end":
                    return
                case "lost":
                    yield Token("", token.end_s, start_s=heard_s, is_lost=True)
                case _:
                    yield Token(text, token.end_s, tentative=" b")
            yield Token("", 0.0, tentative=" né b", is_tentative=True)
            heard_s = token.end_s


class Talk(ABC):
    """A client from its greeting to its end, over one socket after the other; it is the channel."""

    def __init__(self, dialect: Dialect, choices: Choices) -> None:
        self._choices = choices
        self._ending = choices.one_of(["stop", "stop", "restart", "leave", "cut"])
        self._messages_left = _MOST_MESSAGES
        self._heard: list[Message] = []
        self._position = 0
        """The number of the last message that came over this socket."""
        self._refusal: ClientError | None = None
        """Why nothing more can be read of what the client sends."""
        self._dialect = _Watched(dialect, choices)
        self._session = Session(_WAITING_SAMPLES, LevelDetector())
        self._conversation = Conversation(
            self._dialect,
            _LedEngine(choices),
            self._session,
            Bounds(),
            ResumeSettings(keep_s=_KEEP_S),
            Line(),
        )

    async def run(self) -> None:
        """Send messages as long as there are bytes, then come to the end."""
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._conversation.run())
            await self._until_closed(self._conversation.attach(self))
            while await _is_kept(running):
                forgotten = self._choices.number(3)
                self._position = max(0, len(self._heard) - forgotten)
                expected = "resume_failed" if forgotten else ""
                serving = self._conversation.reattach(self, self._position)
                await self._until_closed(serving, expected)

    async def _until_closed(
        self, serving: Coroutine[Any, Any, LanscribeError | None], expected: str = ""
    ) -> None:
        """Talk over one socket; what it is closed with is told, too.

        expected: the code of an error that the client may have asked for.
        """
        try:
            reason = await serving
            assert reason is None or self._session.is_over
        except ClientError as error:
            assert error is self._refusal or error.code == expected, error
            reason = error
        for message in self._dialect.encode(Failure(reason)) if reason else []:
            self._check(message)

    @abstractmethod
    def _take(self) -> Message | None:
        """What the client sends next; None when that is not a whole message."""

    @abstractmethod
    def _check(self, message: Message) -> None:
        """Raises Broken for what is no message of the protocol, ConnectionError at the last one."""

    async def receive(self) -> Message | None:
        for _ in range(8 * self._choices.number(3)):  # meanwhile the engine goes on
            await asyncio.sleep(0)
        while self._messages_left and not self._choices.is_used_up:
            if self._choices.number(32) == 31:
                raise ConnectionError
            self._messages_left -= 1
            if (message := self._take()) is not None:
                return message
        ending, self._ending = self._ending, "stop"
        match ending:
            case "leave":
                return None
            case "cut":
                raise ConnectionError
            case "restart":
                self._conversation.restart(errors.restarting())
            case _:
                self._conversation.stop(errors.stopping())
        await asyncio.Event().wait()  # until the server closes
        return None

    async def send(self, message: Message) -> None:
        self._check(message)
        if self._dialect.unnumbered:
            self._dialect.unnumbered -= 1
            return
        if self._position == len(self._heard):
            self._heard.append(message)
        assert message == self._heard[self._position], "another message has this number"
        self._position += 1

    async def close(self, code: int, reason: str) -> None:
        raise AssertionError("whoever serves the socket closes it")


async def _is_kept(running: "asyncio.Task[None]") -> bool:
    """Whether the client may come back; a session that is not kept ends soon."""
    await settle()
    return not running.done()


class WebSocketTalk(Talk):
    """Over one of the WebSocket paths; what the server says is held to the contract."""

    def __init__(self, path: str, choices: Choices) -> None:
        self._channels = channels(path)
        self._examples = [example for name in self._channels for example in examples(name)]
        super().__init__(WEBSOCKET_PATHS[path](_INFO, choices.one_of(_QUERIES)), choices)

    def _take(self) -> Message:
        return self._choices.message(self._examples)

    def _check(self, message: Message) -> None:
        assert not isinstance(message, str) or message.encode(), "no UTF-8"
        if not any(contract(channel).allows("server", message) for channel in self._channels):
            raise Broken(f"{self._channels}: the server said {message!r}")


class WyomingTalk(Talk):
    """Over TCP: whole events, damaged ones, and ends of events."""

    def __init__(self, choices: Choices) -> None:
        self._splitter = EventSplitter(_LARGEST_EVENT_BYTES)
        super().__init__(WyomingDialect(_INFO), choices)

    def _take(self) -> Message | None:
        """Raises ProtocolError where the stream is no Wyoming any more."""
        try:
            if (event := self._splitter.take()) is None:
                header = self._choices.message(WYOMING)
                line = header.encode(errors="replace") if isinstance(header, str) else header
                self._splitter.feed(line + b"\n" + self._choices.bytes())
                event = self._splitter.take()
        except ProtocolError as error:
            self._refusal = error
            raise
        return event

    def _check(self, message: Message) -> None:
        if message == HANG_UP:
            raise ConnectionError
        assert isinstance(message, bytes)
        sent = EventSplitter(len(message))
        sent.feed(message)
        if sent.take() != message or not type_of(message):
            raise Broken(f"wyoming: the server said {message!r}")


def talk(data: bytes) -> None:
    """The conversation that these bytes lead to."""
    choices = Choices(data)
    path = choices.one_of(["wyoming", *sorted(WEBSOCKET_PATHS)])
    one = WyomingTalk(choices) if path == "wyoming" else WebSocketTalk(path, choices)
    asyncio.run(one.run())


@cache
def channels(path: str) -> tuple[str, ...]:
    """The channels of docs/asyncapi.yaml at that path."""
    return tuple(
        name
        for name, content in document()["channels"].items()
        if path in (content["address"], *content.get("x-also-at", []))
    )


@cache
def examples(channel: str) -> tuple[dict[str, Any], ...]:
    """What docs/asyncapi.yaml shows of the messages that a client of that channel sends."""
    return tuple(
        example["payload"]
        for operation in document()["operations"].values()
        if operation["action"] == "receive" and operation["channel"]["$ref"].endswith("/" + channel)
        for reference in operation["messages"]
        for example in message(channel, reference).get("examples", [])
    )


def message(channel: str, reference: dict[str, str]) -> Any:
    """The component that a message of a channel refers to."""
    name = reference["$ref"].rpartition("/")[2]
    component = document()["channels"][channel]["messages"][name]["$ref"].rpartition("/")[2]
    return document()["components"]["messages"][component]
