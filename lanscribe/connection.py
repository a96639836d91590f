"""Runs one client connection: messages in, the engine, messages out.

Three tasks: one reads messages into the session, one gives the session's audio to the engine
and sends what it hears, one waits for the order to stop. No queue stands between them: a full
session stops the reading, and the transport's own flow control slows the sender down.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Protocol

from lanscribe.changes import Changes
from lanscribe.config import LimitSettings
from lanscribe.dialects.base import Dialect, Message
from lanscribe.engines.base import Engine, EngineSession
from lanscribe.errors import ClientError, EngineError, EngineFailed, LanscribeError, LimitError
from lanscribe.events import Done, Failure, ServerEvent, SessionCreated
from lanscribe.session import Session

log = logging.getLogger(__name__)


class Channel(Protocol):
    """A message transport, such as a WebSocket."""

    async def receive(self) -> Message | None:
        """The next message; None when the peer is gone. May be cancelled without loss."""

    async def send(self, message: Message) -> None:
        """Send a message. Raises ConnectionError when the peer is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close with an RFC 6455 close code; does nothing when the peer is gone."""


class Connection:
    """One client, from its first message to its last."""

    def __init__(
        self,
        channel: Channel,
        dialect: Dialect,
        engine: Engine,
        session: Session,
        limits: LimitSettings,
    ) -> None:
        self.session_id = f"sess-{uuid.uuid4().hex}"
        self._channel = channel
        self._dialect = dialect
        self._engine = engine
        self._session = session
        self._limits = limits
        self._changes = Changes()
        self._sending = asyncio.Lock()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Read no more, finish what runs, then close."""
        self._stop.set()

    async def run(self) -> None:
        """Serve the client until it leaves, breaks a bound, or `stop` is called."""
        try:
            reason = await self._converse()
        except ExceptionGroup as group:
            reason = _client_error(group)
        if reason is not None:
            log.info("%s: closed: %s", self.session_id, reason)
            await refuse(self._channel, self._dialect, reason, self._limits)

    async def _converse(self) -> LanscribeError | None:
        """Serve until there is a reason to close; None when the client left."""
        async with asyncio.TaskGroup() as tasks:
            await self._send(SessionCreated(self.session_id, int(time.time())))
            transcriber = tasks.create_task(self._transcribe())
            reader = tasks.create_task(self._read())
            stopper = tasks.create_task(self._stop.wait())
            await asyncio.wait({reader, stopper}, return_when=asyncio.FIRST_COMPLETED)
            stopper.cancel()
            reason = reader.result() if reader.done() else _stopping()
            if reason is None:
                transcriber.cancel()
                return None
            reader.cancel()
            self._session.stop()
            await self._changes.tell()
        return reason

    async def _read(self) -> LanscribeError | None:
        """Take messages in until the client leaves (None) or is idle for too long."""
        while True:
            await self._changes.until(lambda: self._session.has_room)
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    message = await self._channel.receive()
            except TimeoutError:
                if self._session.is_waiting_for_client:
                    return _idle(self._limits.idle_timeout_s)
                continue
            if message is None:
                return None
            await self._take_in(message)

    async def _take_in(self, message: Message) -> None:
        try:
            for event in self._dialect.decode(message):
                self._session.receive(event)
        except ClientError as error:
            await self._send(Failure(error))
        await self._changes.tell()

    async def _transcribe(self) -> None:
        """Give one utterance after the other to the engine."""
        while True:
            await self._changes.until(lambda: self._session.is_busy or self._session.is_over)
            if self._session.is_over:
                return
            await self._transcribe_utterance()

    async def _transcribe_utterance(self) -> None:
        engine_session = self._engine.session()
        failure: EngineError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                await engine_session.start()
                tasks.create_task(self._feed(engine_session))
                await self._listen(engine_session)
        except* EngineError as group:
            failure = next(error for error in _leaves(group) if isinstance(error, EngineError))
            log.error("%s: the engine failed: %s", self.session_id, failure)
        finally:
            await engine_session.abort()
        event = self._session.failed(failure) if failure else self._session.completed()
        if isinstance(event, Done):
            log.info(
                "%s: utterance done: %.1f s, %d tokens",
                self.session_id,
                event.audio_s,
                event.token_count,
            )
        await self._changes.tell()
        await self._send(event)

    async def _feed(self, engine_session: EngineSession) -> None:
        while True:
            await self._changes.until(lambda: self._session.has_audio or self._session.is_ended)
            if not self._session.has_audio:
                return await engine_session.finish()
            block = self._session.take_audio()
            await self._changes.tell()
            await engine_session.feed(block)

    async def _listen(self, engine_session: EngineSession) -> None:
        async for token in engine_session:
            await self._send(self._session.heard(token))
        if not self._session.is_ended or self._session.has_audio:
            raise EngineFailed(
                "the engine ended before the utterance did; commit again to go on with the"
                " audio it did not take"
            )

    async def _send(self, event: ServerEvent) -> None:
        """Send to the client. Raises LimitError when it does not read, ConnectionError if gone."""
        try:
            async with asyncio.timeout(self._limits.send_timeout_s), self._sending:
                for message in self._dialect.encode(event):
                    await self._channel.send(message)
        except TimeoutError:
            raise LimitError(
                "client_too_slow",
                f"the client read nothing for {self._limits.send_timeout_s:g} s; read every"
                " message as it comes",
            ) from None


async def refuse(
    channel: Channel, dialect: Dialect, error: LanscribeError, limits: LimitSettings
) -> None:
    """Tell the client why, then close; give up on one that does not take it."""
    try:
        async with asyncio.timeout(limits.close_timeout_s):
            for message in dialect.encode(Failure(error)):
                await channel.send(message)
            await channel.close(error.close_code or 1000, error.code)
    except (TimeoutError, ConnectionError):
        log.debug("the client left before it could be told: %s", error)


def _stopping() -> LanscribeError:
    return LanscribeError("server_stopping", "the server was asked to stop; connect again later")


def _idle(timeout_s: float) -> LimitError:
    return LimitError(
        "idle_timeout", f"nothing was sent for {timeout_s:g} s; connect again when there is audio"
    )


def _client_error(group: ExceptionGroup) -> ClientError | None:
    """Why the connection ends; None when the client left. Raises what is nobody's fault."""
    _, unexpected = group.split((ConnectionError, ClientError))
    if unexpected is not None:
        raise unexpected
    return next((leaf for leaf in _leaves(group) if isinstance(leaf, ClientError)), None)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
