"""OpenAI's REST interface: models, and transcripts of files, whole or streamed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lanscribe import errors
from lanscribe.dialects import model_names
from lanscribe.engines.base import Engine, EngineSession, running
from lanscribe.errors import EngineUnavailable, LimitError, ProtocolError
from lanscribe.media.pieces import NoSuchTrack, Unreadable
from lanscribe.media.process import Decoders
from lanscribe.server import openapi
from lanscribe.server.exchange import Exchange, answering
from lanscribe.server.http_errors import FieldError, JsonResponse, error_response
from lanscribe.server.rest_form import FileTranscript, Wanted
from lanscribe.server.rest_stream import Stream
from lanscribe.server.slots import LEAVING_S, Slots
from lanscribe.server.uploads import Upload, slowest
from lanscribe.session.bounds import Bounds
from lanscribe.speech.audio import Samples, in_pieces
from lanscribe.speech.transcript import Token
from lanscribe.tasks import Changes, Line, first_of

log = logging.getLogger(__name__)

FILES_PATH = "/v1/audio/transcriptions"
_ADVICE = "GET /v1/models lists it; a transcript may be asked for with any name"

Tell = Callable[[Token], Awaitable[None]]


class Rest:
    """The routes of the interface, over one engine."""

    def __init__(
        self,
        limits: Bounds,
        ready_engine: Callable[[], Engine],
        slot: Callable[[str], AbstractAsyncContextManager[None]],
        line: Line,
    ) -> None:
        """ready_engine raises EngineUnavailable; entering slot(address) raises LimitError.

        line: the queue in which recordings wait for their turn.
        """
        self._limits = limits
        self._ready_engine = ready_engine
        self._slot = slot
        self._line = line
        self._decoders = Decoders()
        self._places: Slots | None = None
        self._uploads: set[Upload] = set()
        self._is_stopping = False
        self._changes = Changes()
        self._started_unix_s = int(time.time())
        self._description = openapi.description()

    def routes(self) -> list[Route]:
        """The routes and their handlers."""
        transcribe = answering(self._serve, self._limits)
        return [
            Route("/v1/models", self._list_models),
            Route("/v1/models/{model:path}", self._show_model),
            Route(FILES_PATH, transcribe, methods=["POST"]),
            Route("/openapi.json", self._describe),
            Route("/docs", self._document),
        ]

    async def drain(self, timeout_s: float) -> None:
        """Let files under way finish within timeout_s, then end the rest with an error."""
        await self._changes.until_at_most(timeout_s, lambda: not self._uploads)
        self._is_stopping = True
        self._changes.tell()
        close_s = self._limits.close_timeout_s
        await self._changes.until_at_most(close_s, lambda: not self._uploads)

    def close(self) -> None:
        """End the processes that decode; no file can be transcribed any more."""
        self._decoders.close()

    async def _list_models(self, _request: Request) -> Response:
        try:
            return JsonResponse({"object": "list", "data": [self._model()]})
        except EngineUnavailable as error:
            return error_response(error)

    async def _show_model(self, request: Request) -> Response:
        try:
            model = self._model()
        except EngineUnavailable as error:
            return error_response(error)
        refusal = model_names.refusal(request.path_params["model"], model["id"], _ADVICE)
        return error_response(refusal) if refusal else JsonResponse(model)

    def _model(self) -> dict[str, Any]:
        info = self._ready_engine().describe()
        return {
            "id": info.model,
            "object": "model",
            "created": self._started_unix_s,
            "owned_by": "lanscribe",
            "languages": list(info.languages),
        }

    async def _describe(self, _request: Request) -> Response:
        return JsonResponse(self._description)

    async def _document(self, _request: Request) -> Response:
        return HTMLResponse(openapi.page(self._description), headers=openapi.PAGE_HEADERS)

    async def _serve(self, exchange: Exchange) -> None:
        """Answer one request for a transcript."""
        engine = self._ready_engine()
        if self._places is None:
            capacity = engine.describe().capacity
            self._places = Slots(capacity, self._limits.sessions_per_address)
        address, upload = exchange.address, exchange.upload
        await self._make_room(self._places, address)
        try:
            with self._places.take(address):
                self._uploads.add(upload)
                await first_of(
                    self._transcribe(exchange, engine),
                    self._until_stopped(),
                    self._until_displaced(upload),
                    self._until_too_long(),
                )
        finally:
            self._uploads.discard(upload)
            self._changes.tell()

    async def _make_room(self, places: Slots, address: str) -> None:
        """Wait a moment for a place; displace the slowest upload for an address below its share."""
        await self._changes.until_at_most(LEAVING_S, lambda: places.has_room(address))
        displaced = slowest(self._uploads, time.monotonic())
        if displaced and not places.has_room(address) and not places.has_its_share(address):
            displaced.is_displaced = True
            self._changes.tell()
            await self._changes.until_at_most(LEAVING_S, lambda: places.has_room(address))

    async def _until_displaced(self, upload: Upload) -> None:
        await self._changes.until(lambda: upload.is_displaced)
        raise LimitError(
            "upload_too_slow",
            f"another upload waited, and this one was the slowest: {upload.received_bytes} bytes"
            " had arrived; try again later, or send FLAC or Opus instead of WAV",
        )

    async def _transcribe(self, exchange: Exchange, engine: Engine) -> None:
        """Read a form and answer it."""
        async with self._slot(exchange.address):
            pass  # a client that is refused need not upload first
        self._decoders.start()  # it imports its libraries while the file arrives
        async with exchange.form() as form:
            wanted, heard = Wanted.of(form), FileTranscript()
            stream = None
            if wanted.is_streamed:
                stream = Stream(exchange, heard, tells_progress=wanted.tells_progress)
            try:
                async with self._slot(exchange.address):
                    hearing = self._hear(engine, wanted, heard, stream)
                    await first_of(hearing, exchange.until_gone())
            finally:
                exchange.so_far = heard.so_far
        log.info("a file of %.1f s was transcribed", heard.audio_s)
        if stream:
            await stream.end()
        else:
            await exchange.respond(heard.answer(wanted, engine.describe()))

    async def _hear(
        self, engine: Engine, wanted: Wanted, heard: FileTranscript, stream: Stream | None
    ) -> None:
        """Hear the file, and tell what is heard as it comes if that is wanted."""

        async def tell(token: Token) -> None:
            if not token.is_tentative:
                placed = heard.hear(token)
                if stream:
                    await stream.tell(placed)

        async with self._decoders.opened(wanted.file, wanted.track) as pieces:
            blocks = await _begun(heard.counted(pieces))
            if stream:
                await stream.begin()
            await _transcribed(engine, self._in_line(blocks), tell)

    async def _in_line(self, blocks: AsyncIterator[Samples]) -> AsyncIterator[Samples]:
        async for block in blocks:
            for piece in in_pieces(block):
                await self._line.turn()
                yield piece

    async def _until_stopped(self) -> None:
        await self._changes.until(lambda: self._is_stopping)
        raise errors.stopping()

    async def _until_too_long(self) -> None:
        if not (longest_s := self._limits.session_s):
            await asyncio.Event().wait()
        await asyncio.sleep(longest_s)
        raise LimitError(
            "session_too_long",
            f"the file, with its upload, took longer than {longest_s:g} s (limits.session_s);"
            " send a part at a time",
        )


async def _begun(blocks: AsyncIterator[Samples]) -> AsyncIterator[Samples]:
    """The same blocks, when the first one is there. Raises ProtocolError if there is none."""
    try:
        first = await anext(blocks)
    except NoSuchTrack as error:
        raise FieldError("track", str(error)) from error
    except Unreadable as error:
        raise ProtocolError("invalid_file", str(error)) from error
    return _joined(first, blocks)


async def _joined(first: Samples, others: AsyncIterator[Samples]) -> AsyncIterator[Samples]:
    yield first
    async for block in others:
        yield block


async def _transcribed(engine: Engine, blocks: AsyncIterator[Samples], tell: Tell) -> None:
    """Feed the blocks to an engine session, and await `tell` with each of its tokens."""
    async with running(engine) as (session, tasks):
        tasks.create_task(_feed(session, blocks))
        async for token in session:
            await tell(token)


async def _feed(session: EngineSession, blocks: AsyncIterator[Samples]) -> None:
    async for block in blocks:
        await session.feed(block)
    await session.finish()
