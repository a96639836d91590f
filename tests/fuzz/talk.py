"""A codec and a session without a wire, an engine or a clock, led by arbitrary bytes."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.engines.base import EngineInfo, Token
from lanscribe.errors import CODES, ClientError, EngineFailed
from lanscribe.events import (
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
from lanscribe.session import Session
from tests.contract import Broken, contract, document
from tests.fuzz.choices import Choices

_INFO = EngineInfo("fake", "m", ("en",), True, None, 8)
_QUERIES: list[dict[str, str]] = [{}, {"intent": "transcription"}, {"model": "m"}, {"model": "?"}]
_WAITING_SAMPLES = 4000
_MOST_MESSAGES = 40


class Talk:
    """One session, from its greeting on; what the server says is held to the contract."""

    def __init__(self, path: str, choices: Choices) -> None:
        self._choices = choices
        self._channels = channels(path)
        self._examples = [example for name in self._channels for example in examples(name)]
        self._dialect = WEBSOCKET_PATHS[path](_INFO, choices.one_of(_QUERIES))
        self._session = Session(["m"], _WAITING_SAMPLES)
        self._put(SessionCreated("sess-00", 5, "token" * 8, 60.0))

    def run(self) -> None:
        """Take messages in as long as there are bytes, then come to the end."""
        for _ in range(_MOST_MESSAGES):
            if self._choices.is_used_up or self._session.is_stopped:
                break
            self._take_in(self._choices.message(self._examples))
            for _ in range(self._choices.number(3)):
                self._transcribe()
        self._session.stop()
        while not self._session.is_over:
            self._transcribe()
        self._put(SessionEnded())

    def _take_in(self, message: Message) -> None:
        if not self._session.has_room:
            self._transcribe()
        try:
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
                for answer in self._session.receive(event):
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
            answers = [session.heard(Token(self._choices.one_of(["", "a", " né", "."]), end_s))]
        else:
            answers = [session.progress()]
        for answer in answers:
            self._put(answer)

    def _put(self, event: ServerEvent) -> None:
        if isinstance(event, Failure):
            assert event.error.code in CODES
        self._check(self._dialect.encode(event))

    def _check(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if not any(contract(channel).allows("server", message) for channel in self._channels):
                raise Broken(f"{self._channels}: the server said {message!r}")


def talk(data: bytes) -> None:
    """The conversation that these bytes lead to."""
    choices = Choices(data)
    Talk(choices.one_of(sorted(WEBSOCKET_PATHS)), choices).run()


@cache
def channels(path: str) -> tuple[str, ...]:
    """The channels of docs/asyncapi.yaml at that path."""
    all_channels = document()["channels"].items()
    return tuple(name for name, content in all_channels if content["address"] == path)


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
