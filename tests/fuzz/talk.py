"""A codec and a session without a wire, an engine or a clock, led by arbitrary bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    Acknowledge,
    ClientEvent,
    Failure,
    KeepForResume,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    SessionResumed,
)
from lanscribe.dialects.wyoming import HANG_UP, EventSplitter, WyomingDialect, type_of
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import CODES, ClientError, EngineFailed, ProtocolError
from lanscribe.session.state import Session
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.contract import Broken, contract, document
from tests.fuzz.choices import Choices

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


class Talk(ABC):
    """One session, from its greeting to its end."""

    def __init__(self, dialect: Dialect, choices: Choices) -> None:
        self._choices = choices
        self._dialect = dialect
        self._session = Session(["m"], _WAITING_SAMPLES, LevelDetector())

    def run(self) -> None:
        """Take messages in as long as there are bytes, then come to the end."""
        self._put(SessionCreated("sess-00", 5, "token" * 8, 60.0))
        for _ in range(_MOST_MESSAGES):
            if self._choices.is_used_up or self._session.is_stopped:
                break
            self._take_in()
            for _ in range(self._choices.number(3)):
                self._transcribe()
        self._session.stop()
        while not self._session.is_over:
            self._transcribe()
        self._put(SessionEnded())

    @abstractmethod
    def _messages(self) -> Iterable[Message]:
        """What the client sends next."""

    @abstractmethod
    def _check(self, messages: Iterable[Message]) -> None:
        """Raises Broken for what is no message of the protocol."""

    def _take_in(self) -> None:
        if not self._session.has_room:
            self._transcribe()
        try:
            for message in self._messages():
                for event in self._dialect.decode(message):
                    self._take_in_event(event)
        except ClientError as error:
            self._put(Failure(error))

    def _take_in_event(self, event: ClientEvent) -> None:
        match event:
            case Reply():
                self._check(event.messages)
            case Acknowledge() | KeepForResume():
                self._put(SessionResumed("sess-00", self._session.received_samples, 0))
            case _:
                for answer in self._session.receive(event, 0.0):
                    self._put(answer)

    def _transcribe(self) -> None:
        """What an engine would do next: listen, fail, or come to its end."""
        session = self._session
        if not session.is_busy:
            return
        if session.is_cancelled or (session.is_ended and not session.has_audio):
            answers: Sequence[ServerEvent] = session.completed()
        elif not self._choices.number(8):
            answers = session.failed(EngineFailed("broken"))
        elif session.has_audio:
            end_s = session.heard_s + len(session.take_audio()) / 16_000
            start_s, text = session.heard_s, self._choices.one_of(["", "a", " né", ".", "lost"])
            lost = Token("", end_s, start_s=start_s, is_lost=True)
            answers = [session.heard(lost if text == "lost" else Token(text, end_s))]
        else:
            answers = [replace(session.progress(), is_muted=bool(self._choices.number(2)))]
        for answer in answers:
            self._put(answer)

    def _put(self, event: ServerEvent) -> None:
        if isinstance(event, Failure):
            assert event.error.code in CODES
        self._check(self._dialect.encode(event))


class WebSocketTalk(Talk):
    """Over one of the WebSocket paths; what the server says is held to the contract."""

    def __init__(self, path: str, choices: Choices) -> None:
        self._channels = channels(path)
        self._examples = [example for name in self._channels for example in examples(name)]
        super().__init__(WEBSOCKET_PATHS[path](_INFO, choices.one_of(_QUERIES)), choices)

    def _messages(self) -> Iterable[Message]:
        return [self._choices.message(self._examples)]

    def _check(self, messages: Iterable[Message]) -> None:
        for message in messages:
            assert not isinstance(message, str) or message.encode(), "no UTF-8"
            if not any(contract(channel).allows("server", message) for channel in self._channels):
                raise Broken(f"{self._channels}: the server said {message!r}")


class WyomingTalk(Talk):
    """Over TCP: whole events, damaged ones, and ends of events."""

    def __init__(self, choices: Choices) -> None:
        self._splitter = EventSplitter(_LARGEST_EVENT_BYTES)
        super().__init__(WyomingDialect(_INFO), choices)

    def _messages(self) -> Iterable[Message]:
        header = self._choices.message(WYOMING)
        line = header.encode(errors="replace") if isinstance(header, str) else header
        self._splitter.feed(line + b"\n" + self._choices.bytes())
        try:
            while (event := self._splitter.take()) is not None:
                yield event
        except ProtocolError:  # where the next event begins is unknown: the connection ends
            self._session.stop()
            raise

    def _check(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message == HANG_UP:
                return self._session.stop()
            assert isinstance(message, bytes)
            sent = EventSplitter(len(message))
            sent.feed(message)
            if sent.take() != message or not type_of(message):
                raise Broken(f"wyoming: the server said {message!r}")
        return None


def talk(data: bytes) -> None:
    """The conversation that these bytes lead to."""
    choices = Choices(data)
    path = choices.one_of(["wyoming", *sorted(WEBSOCKET_PATHS)])
    one = WyomingTalk(choices) if path == "wyoming" else WebSocketTalk(path, choices)
    one.run()


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
