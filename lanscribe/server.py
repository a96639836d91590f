"""The gateway over HTTP and WebSocket: health, models, and /v1/realtime."""

import asyncio
import logging
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from lanscribe.audio import sample_count
from lanscribe.config import Settings
from lanscribe.connection import Connection, refuse
from lanscribe.dialects.base import Dialect, Message
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.doorkeeper import Doorkeeper, error_response
from lanscribe.endless import EndlessEngine
from lanscribe.engines.base import Engine
from lanscribe.errors import EngineUnavailable, LanscribeError
from lanscribe.limits import Slots
from lanscribe.session import Session

log = logging.getLogger(__name__)


class WebSocketChannel:
    """A Starlette WebSocket as a `Channel`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> Message | None:
        """The next frame's text or bytes; None when the peer is gone."""
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            return None
        text: str | None = event.get("text")
        return text if text is not None else bytes(event["bytes"])

    async def send(self, message: Message) -> None:
        """Send a frame. Raises ConnectionError when the peer is gone or closing."""
        try:
            if isinstance(message, str):
                await self._websocket.send_text(message)
            else:
                await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError(str(error)) from error


class Gateway:
    """What all connections share: the engine, the slots, and who is connected."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._loading: str | None = "the engine is loading"
        self._slots = Slots(0)
        self._running: dict[asyncio.Task[None], Connection] = {}
        self._started_unix_s = int(time.time())

    def engine_loaded(self, engine: Engine) -> None:
        """Begin to serve with `engine`, whose sessions become endless here."""
        self._engine = EndlessEngine(engine, self._settings.rollover)
        self._slots = Slots(engine.describe().capacity)
        self._loading = None

    def set_loading(self, reason: str | None) -> None:
        """Say why the engine does not serve at the moment, or (None) that it does again.

        Sessions that are open go on: they wait for the engine themselves.
        """
        self._loading = reason

    async def drain(self) -> None:
        """Let running sessions have their last words, within limits.stop_timeout_s."""
        for connection in self._running.values():
            connection.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=self._settings.limits.stop_timeout_s)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/", self._greet),
            Route("/health", self._health),
            Route("/v1/models", self._models),
            WebSocketRoute("/v1/realtime", self._realtime),
        ]
        return Doorkeeper(Starlette(routes=routes), self._settings.auth)

    async def _greet(self, _request: Request) -> Response:
        return PlainTextResponse(
            "lanscribe: live speech to text.\n"
            "WebSocket: /v1/realtime   models: /v1/models   health: /health\n"
        )

    async def _health(self, _request: Request) -> Response:
        if self._engine is None or self._loading:
            reason = self._loading
            return JSONResponse({"status": "loading", "server": "lanscribe", "reason": reason}, 503)
        info = self._engine.describe()
        return JSONResponse(
            {
                "status": "ok",
                "server": "lanscribe",
                "engine": info.name,
                "model": info.model,
                "sessions": self._slots.taken,
                "capacity": self._slots.capacity,
            }
        )

    async def _models(self, _request: Request) -> Response:
        try:
            info = self._ready_engine().describe()
        except EngineUnavailable as error:
            return error_response(error, 503)
        model = {
            "id": info.model,
            "object": "model",
            "created": self._started_unix_s,
            "owned_by": "lanscribe",
            "languages": info.languages,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def _realtime(self, websocket: WebSocket) -> None:
        await websocket.accept()
        channel, dialect = WebSocketChannel(websocket), VllmDialect()
        try:
            engine = self._ready_engine()
            with self._slots.take():
                await self._converse(websocket, dialect, engine)
        except LanscribeError as error:
            await refuse(channel, dialect, error, self._settings.limits)
        except Exception:
            log.exception("a connection ended by a defect of the server")
            defect = LanscribeError("internal", "a defect of the server; its log says more")
            await refuse(channel, dialect, defect, self._settings.limits)

    async def _converse(self, websocket: WebSocket, dialect: Dialect, engine: Engine) -> None:
        limits = self._settings.limits
        session = Session([engine.describe().model], sample_count(limits.waiting_audio_s))
        connection = Connection(WebSocketChannel(websocket), dialect, engine, session, limits)
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = connection
        peer = websocket.client.host if websocket.client else "unknown"
        log.info("%s: open (%d of %d) from %s", connection.session_id, *self._load(), peer)
        try:
            await connection.run()
        finally:
            del self._running[task]
            log.info("%s: ended", connection.session_id)

    def _load(self) -> tuple[int, int]:
        return self._slots.taken, self._slots.capacity

    def _ready_engine(self) -> Engine:
        if self._engine is None or self._loading:
            raise EngineUnavailable(f"{self._loading}; try again in a few seconds")
        return self._engine
