"""A conversation without a socket: a channel in memory, a dialect of bare events, fake engines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from lanscribe.config import ResumeSettings
from lanscribe.dialects.events import ClientEvent, Message, ServerEvent
from lanscribe.engines.fake import FakeEngine, FakeSession
from lanscribe.errors import EngineFailed, EngineUnavailable, LanscribeError
from lanscribe.session.bounds import Bounds
from lanscribe.session.conversation import Conversation
from lanscribe.session.state import Session
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Changes, Line

DEADLINE_S = 20
T = TypeVar("T", bound=ServerEvent)


class PlainDialect:
    """Messages are numbers of lists of events: what a client says, and what it is told."""

    name = "plain"
    refusal = None

    def __init__(self) -> None:
        self.said: list[Sequence[ClientEvent]] = []
        self.told: list[ServerEvent] = []

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        return self.said[int(message)]

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        self.told.append(event)
        return [str(len(self.told) - 1)]


class Wire:
    """One socket of a client, both ends."""

    def __init__(self, dialect: PlainDialect) -> None:
        self.came: list[ServerEvent] = []
        """What the client has read."""
        self._dialect = dialect
        self._going: asyncio.Queue[Message | None] = asyncio.Queue()
        self._is_reading = True
        self._is_broken = False
        self._changes = Changes()

    def say(self, *events: ClientEvent) -> None:
        """Send one message."""
        self._dialect.said.append(events)
        self._going.put_nowait(str(len(self._dialect.said) - 1))

    def leave(self) -> None:
        """Close."""
        self._going.put_nowait(None)

    async def cut(self) -> None:
        """Lose the connection, without a word."""
        self._is_broken = True
        self._going.put_nowait(None)
        self._changes.tell()

    async def read(self, is_reading: bool) -> None:
        """Go on reading, or leave everything unread."""
        self._is_reading = is_reading
        self._changes.tell()

    @property
    def unread(self) -> int:
        """How many messages of the client the server has not taken."""
        return self._going.qsize()

    async def until(self, kind: type[T], holds: Callable[[T], bool] = lambda _: True) -> T:
        """The first event of a kind that has come, or comes."""

        def found() -> list[T]:
            return [event for event in self.came if isinstance(event, kind) and holds(event)]

        await self._changes.until(lambda: bool(found()))
        return found()[0]

    async def receive(self) -> Message | None:
        message = await self._going.get()
        if self._is_broken:
            raise ConnectionError
        return message

    async def send(self, message: Message) -> None:
        await self._changes.until(lambda: self._is_reading or self._is_broken)
        if self._is_broken:
            raise ConnectionError
        self.came.append(self._dialect.told[int(message)])
        self._changes.tell()

    async def close(self, code: int, reason: str) -> None:
        del code, reason


async def settle() -> None:
    """Let everything that is ready go on until all of it waits."""
    for _ in range(100):
        await asyncio.sleep(0)


class Hosted:
    """A conversation that runs, and its sockets."""

    def __init__(self, conversation: Conversation, dialect: PlainDialect) -> None:
        self.conversation = conversation
        self.running = asyncio.create_task(conversation.run())
        self._dialect = dialect
        self._tasks: list[asyncio.Task[LanscribeError | None]] = []

    def attach(self) -> tuple[Wire, "asyncio.Task[LanscribeError | None]"]:
        """The first socket, and why it is closed."""
        wire = Wire(self._dialect)
        return wire, self._keep(asyncio.create_task(self.conversation.attach(wire)))

    def reattach(self, seen: int) -> tuple[Wire, "asyncio.Task[LanscribeError | None]"]:
        """Another socket, and why it is closed."""
        wire = Wire(self._dialect)
        return wire, self._keep(asyncio.create_task(self.conversation.reattach(wire, seen)))

    def _keep(
        self, task: "asyncio.Task[LanscribeError | None]"
    ) -> "asyncio.Task[LanscribeError | None]":
        self._tasks.append(task)
        return task

    async def end(self) -> None:
        """End what still runs; it must not fail by that."""
        tasks = [task for task in (self.running, *self._tasks) if not task.done()]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, LanscribeError):
                raise outcome


@asynccontextmanager
async def hosted(
    engine: FakeEngine | None = None,
    *,
    waiting_s: float = 300.0,
    keep_s: float = 0.0,
    messages: int = 10_000,
    limits: Bounds | None = None,
) -> AsyncIterator[Hosted]:
    """A conversation with the fake engine, or another; all that is done with it has a deadline."""
    dialect = PlainDialect()
    session = Session(sample_count(waiting_s), LevelDetector())
    conversation = Conversation(
        dialect,
        engine or FakeEngine(),
        session,
        (limits or Bounds()).model_copy(update={"kept_messages": messages}),
        ResumeSettings(keep_s=keep_s),
        Line(),
    )
    host = Hosted(conversation, dialect)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield host
    finally:
        await host.end()


class HeldEngine(FakeEngine):
    """It takes no audio before `gate` is set, and then tells `times` how far it has listened."""

    def __init__(self, times: int = 0) -> None:
        super().__init__()
        self.times = times
        self.gate = asyncio.Event()
        self.is_asked = asyncio.Event()
        """Set once it is given audio."""
        self.is_aborted = asyncio.Event()

    def session(self) -> FakeSession:
        return _HeldSession(self)


class _HeldSession(FakeSession):
    def __init__(self, engine: HeldEngine) -> None:
        super().__init__()
        self._engine = engine

    async def feed(self, samples: Samples) -> None:
        self._engine.is_asked.set()
        await self._engine.gate.wait()
        await super().feed(samples)

    async def __aiter__(self) -> AsyncIterator[Token]:
        async for token in super().__aiter__():
            yield token
            for _ in range(self._engine.times):
                yield Token("", token.end_s)

    async def abort(self) -> None:
        await super().abort()
        self._engine.is_aborted.set()


class LateEngine(FakeEngine):
    """It writes everything at the end."""

    def session(self) -> FakeSession:
        return _LateSession()


class _LateSession(FakeSession):
    async def __aiter__(self) -> AsyncIterator[Token]:
        for token in [token async for token in super().__aiter__()]:
            yield token


class BreakingEngine(FakeEngine):
    """Its first session breaks: at its start, after three words, at its end, or in silence."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def session(self) -> FakeSession:
        where, self._where = self._where, ""
        return _BreakingSession(where)


class _BreakingSession(FakeSession):
    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    async def start(self) -> None:
        if self._where == "start":
            raise EngineUnavailable("no engine here")

    async def __aiter__(self) -> AsyncIterator[Token]:
        count = 0
        async for token in super().__aiter__():
            yield token
            count += 1
            if self._where == "middle" and count == 3:
                raise EngineFailed("broken")
            if self._where == "early" and count == 3:
                return
        if self._where == "end":
            raise EngineFailed("broken")
