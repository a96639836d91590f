"""Runs one client's session: messages in, the engine, messages out.

A `Conversation` has two sides. Its own tasks feed the session's audio to the engine and put
the text into the outbox. A socket is attached to it: one task reads messages into the
session, another writes the outbox. There is no other queue between them: a full session stops
the reading, a full outbox stops the engine, and the transport's own flow control slows the sender
down. A client that can resume may lose its socket and come back with another one.
"""

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from lanscribe import errors
from lanscribe.config import ResumeSettings
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    Acknowledge,
    AppendAudio,
    Cancel,
    ClientEvent,
    Done,
    Failure,
    Finish,
    KeepForResume,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    SessionResumed,
    SessionStopping,
)
from lanscribe.engines.base import Engine, EngineSession, running
from lanscribe.errors import ClientError, EngineError, EngineFailed, LanscribeError
from lanscribe.session.bounds import Bounds
from lanscribe.session.channel import Channel
from lanscribe.session.outbox import Outbox
from lanscribe.session.pace import Pace
from lanscribe.session.state import Session
from lanscribe.speech.audio import in_pieces
from lanscribe.tasks import Changes, Line, end, first_of

log = logging.getLogger(__name__)

MAX_UNSENT = 64
"""How many messages may wait for an attached socket before the engine must wait."""


class _Cancelled(Exception):
    """The client has cancelled the utterance."""


class Conversation:
    """One client, from its first message to its last, over one socket after another."""

    def __init__(
        self,
        dialect: Dialect,
        engine: Engine,
        session: Session,
        limits: Bounds,
        resume: ResumeSettings,
        line: Line,
    ) -> None:
        """line: where the recordings of all connections wait for their turn."""
        self.session_id = f"sess-{uuid.uuid4().hex}"
        self.resume_token = secrets.token_urlsafe(24)
        """Its holder may take the session over."""
        self._dialect = dialect
        self._engine = engine
        self._session = session
        self._limits = limits
        self._resume = resume
        self._line = line
        self._outbox = Outbox(limits.kept_messages)
        self._pace = Pace(limits.messages_per_s, limits.bytes_per_s, limits.message_bytes)
        self._changes = Changes()
        self._sockets = 0
        self._serving = asyncio.Lock()
        self._is_kept = False
        self._is_over = self._is_cut_told = False
        self._reason: LanscribeError | None = None

    def stop(self, reason: LanscribeError, *, is_cut: bool = True) -> None:
        """Stop reading, finish what runs, then close and tell the reason.

        is_cut: the stop may be in the middle of a word, not where the client has paused.
        """
        self._reason = self._reason or reason
        self._session.stop(is_cut=is_cut)
        self._tell_of_cut()
        self._changes.tell()

    def restart(self, reason: LanscribeError) -> None:
        """Stop, but send no last words of the open utterance to a client that can resume.

        It sends that audio again to the next server, from before the cut; here a word might be
        cut short.
        """
        if self._is_kept and not self._session.is_stopped:
            self._session.receive(Cancel(), time.monotonic())
        self.stop(reason)

    async def run(self) -> None:
        """Transcribe until every utterance is done, or the client has left for good."""
        keep_s = self._resume.keep_s
        self._put(SessionCreated(self.session_id, int(time.time()), self.resume_token, keep_s))
        defect: LanscribeError | None = errors.defect()
        try:
            await first_of(self._transcribe(), self._until_abandoned(), self._until_too_long())
            defect = None
        finally:
            self._reason = defect or self._reason
            self._is_over = True
            self._changes.tell()

    async def attach(self, channel: Channel) -> LanscribeError | None:
        """Serve the client over `channel` until there is a reason to close it or it is gone.

        Returns the reason; None if there is nothing to tell.
        """
        self._sockets += 1
        async with self._only_socket():
            return await self._serve(channel, 0, self._sockets)

    async def reattach(self, channel: Channel, seen: int) -> LanscribeError | None:
        """Attach another socket, for a client that has the events up to number `seen`.

        The previous socket is closed. Raises ClientError when some later events are gone.
        """
        self._outbox.after(seen)
        self._is_kept = True
        self._sockets += 1
        number = self._sockets
        self._changes.tell()
        async with self._only_socket():  # the previous socket delivers nothing more
            session = self._session
            counts = session.received_samples, session.received_commits
            try:
                for message in self._dialect.encode(SessionResumed(self.session_id, *counts)):
                    await channel.send(message)
            except ConnectionError:
                return None
            return await self._serve(channel, seen, number)

    async def _serve(self, channel: Channel, seen: int, number: int) -> LanscribeError | None:
        """Read and write until the client is gone, its socket is replaced, or all is sent."""
        reader = asyncio.create_task(self._read(channel))
        writer = asyncio.create_task(self._write(channel, seen))
        stopper = asyncio.create_task(self._until_stopped_or_replaced(number))
        try:
            await asyncio.wait({reader, writer, stopper}, return_when=asyncio.FIRST_COMPLETED)
            if number != self._sockets:
                return errors.resumed_elsewhere()
            if reader.done() and not self._session.is_stopped:
                if (reason := reader.result()) is None:
                    return None
                self.stop(reason, is_cut=False)
            reader.cancel()
            return await writer or self._reason
        except ConnectionError:
            return None
        finally:
            await end(reader, writer, stopper)

    @asynccontextmanager
    async def _only_socket(self) -> AsyncIterator[None]:
        """Wait until the previous socket is released, then count as attached."""
        try:
            async with self._serving:
                yield
        finally:
            self._changes.tell()

    @property
    def _is_attached(self) -> bool:
        return self._serving.locked()

    async def _read(self, channel: Channel) -> LanscribeError | None:
        """Read messages until the client leaves (None) or is idle for too long."""
        while True:
            await self._changes.until(lambda: self._session.has_room)
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    message = await channel.receive()
            except TimeoutError:
                if self._session.is_waiting_for_client:
                    return errors.idle(self._limits.idle_timeout_s)
                continue
            if message is None:
                self._is_kept = False
                return None
            await self._turn()
            await self._take_in(message)
            self._changes.tell()
            await asyncio.sleep(self._pace.wait_s(len(message), time.monotonic()))
            await self._changes.until(lambda: self._has_outbox_room or not self._is_attached)

    async def _take_in(self, message: Message) -> None:
        """Handle a message; other clients get their turn between its pieces of audio.

        The socket may be replaced there: a client that resumes is told how much was received.
        """
        has_audio = False
        try:
            for event in self._dialect.decode(message):
                if has_audio and isinstance(event, AppendAudio):
                    self._changes.tell()
                    await asyncio.sleep(0)
                    await self._turn()
                    await self._changes.until(lambda: self._session.has_room)
                if self._session.is_stopped:
                    return
                self._take_in_event(event)
                has_audio = has_audio or isinstance(event, AppendAudio)
        except ClientError as error:
            self._put(Failure(error))

    async def _turn(self) -> None:
        """A recording waits for its turn, a speaker does not."""
        if not self._session.is_live:
            await self._line.turn()

    def _take_in_event(self, event: ClientEvent) -> None:
        match event:
            case Reply():
                self._put_messages(event.messages)
                self._session.receive(event, time.monotonic())  # starts its clock
            case Acknowledge():
                self._outbox.acknowledge(event.number)
            case KeepForResume():
                self._is_kept = self._resume.keep_s > 0
            case Finish():
                self._session.stop()
            case _:
                for answer in self._session.receive(event, time.monotonic()):
                    self._put(answer)

    async def _write(self, channel: Channel, position: int) -> LanscribeError | None:
        """Send the outbox from `position` on, until the session is over and all is sent."""
        while True:
            self._outbox.sent = position
            if not self._is_kept:
                self._outbox.acknowledge(position)
            self._changes.tell()
            await self._changes.until(lambda: self._outbox.unsent > 0 or self._is_over)
            if self._outbox.end == position:
                return None
            for message in self._outbox.after(position):
                try:
                    async with asyncio.timeout(self._limits.send_timeout_s):
                        await channel.send(message)
                except TimeoutError:
                    return errors.too_slow(self._limits.send_timeout_s)
                position += 1

    async def _until_stopped_or_replaced(self, number: int) -> None:
        await self._changes.until(
            lambda: self._session.is_stopped or self._is_over or number != self._sockets
        )

    async def _until_abandoned(self) -> None:
        """Wait until no socket has been attached for resume.keep_s, or too much is unsent."""
        await self._changes.until(lambda: self._is_attached)
        while True:
            await self._changes.until(lambda: not self._is_attached)
            keep_s = self._resume.keep_s if self._is_kept else 0
            await self._changes.until_at_most(keep_s, self._is_back_or_lost)
            if not self._is_attached:
                return

    def _is_back_or_lost(self) -> bool:
        return self._is_attached or self._outbox.has_overflown

    async def _until_too_long(self) -> None:
        """Stop the session after limits.session_s, then let it finish."""
        longest_s = self._limits.session_s
        if longest_s:
            await asyncio.sleep(longest_s)
            self.stop(errors.too_long(longest_s))
        await asyncio.Event().wait()

    @property
    def _has_outbox_room(self) -> bool:
        return self._outbox.unsent < MAX_UNSENT

    async def _transcribe(self) -> None:
        """Give the engine one utterance after another."""
        while True:
            await self._changes.until(lambda: self._session.is_busy or self._session.is_over)
            if self._session.is_over:
                self._put(SessionEnded())
                return
            await self._transcribe_utterance()

    def _tell_of_cut(self) -> None:
        """Announce a cut before the last words of an utterance that the client has not ended."""
        is_cut = self._session.is_busy and self._session.is_cut
        if is_cut and self._is_kept and not self._is_cut_told:
            self._is_cut_told = True
            self._put(SessionStopping())

    async def _transcribe_utterance(self) -> None:
        self._tell_of_cut()
        failure: EngineError | None = None
        try:
            async with running(self._engine) as (engine_session, tasks):
                watcher = tasks.create_task(self._raise_when_cancelled())
                tasks.create_task(self._feed(engine_session))
                await self._listen(engine_session)
                watcher.cancel()
        except _Cancelled:
            pass
        except EngineError as error:
            failure = error
            log.error("%s: the engine failed: %s", self.session_id, failure)
        for event in self._session.failed(failure) if failure else self._session.completed():
            self._put(event)
            self._log_done(event)
        self._changes.tell()

    async def _raise_when_cancelled(self) -> None:
        await self._changes.until(lambda: self._session.is_cancelled)
        raise _Cancelled

    async def _feed(self, engine_session: EngineSession) -> None:
        while True:
            await self._changes.until(lambda: self._session.has_audio or self._session.is_ended)
            if not self._session.has_audio:
                return await engine_session.finish()
            block = self._session.take_audio()
            self._changes.tell()
            for piece in in_pieces(block):
                await self._turn()
                await engine_session.feed(piece)

    async def _listen(self, engine_session: EngineSession) -> None:
        async for token in engine_session:
            if self._session.is_news(token):
                self._put(self._session.heard(token))
            self._changes.tell()
            await self._changes.until(lambda: self._has_outbox_room or not self._is_attached)
        if not self._session.is_ended or self._session.has_audio:
            raise EngineFailed(
                "the engine ended before the utterance did; commit again to go on with the"
                " audio it did not take"
            )

    def _put(self, event: ServerEvent) -> None:
        self._put_messages(self._dialect.encode(event))

    def _put_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._outbox.append(message)

    def _log_done(self, event: ServerEvent) -> None:
        if isinstance(event, Done):
            figures = (event.audio_s, event.token_count)
            log.info("%s: utterance done: %.1f s, %d tokens", self.session_id, *figures)
