"""The gateway over HTTP and WebSocket: health, files, and /v1/realtime."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from lanscribe import errors
from lanscribe.config import Settings
from lanscribe.dialects import WEBSOCKET_PATHS, MakeDialect
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import Message
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.base import Engine, EngineInfo
from lanscribe.errors import ClientError, EngineUnavailable, LanscribeError, ProtocolError
from lanscribe.server import front, paths
from lanscribe.server.client_secrets import ClientSecrets
from lanscribe.server.doorkeeper import (
    Doorkeeper,
    ephemeral_key_of,
    first_message_of,
    refusal_of,
)
from lanscribe.server.ephemeral import EphemeralKeys
from lanscribe.server.home import Home
from lanscribe.server.http_errors import error_response
from lanscribe.server.key_check import KeyCheck, sign_in_file
from lanscribe.server.rest import FILES_PATH, Rest
from lanscribe.server.sign_in import SignIn
from lanscribe.server.slots import LEAVING_S, Slots
from lanscribe.server.trust import Trust
from lanscribe.session.bounds import Bounds
from lanscribe.session.channel import Channel, refuse
from lanscribe.session.conversation import Conversation
from lanscribe.session.lag import LagMeter
from lanscribe.session.state import Session
from lanscribe.speech.audio import sample_count
from lanscribe.tasks import Changes, Line, task_group

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_MAX_DIGITS = 15
"""The most digits of an event's number, which is below 2^53."""
_HINTS = {
    "/v1/audio/translations": "this server does not translate: POST /v1/audio/transcriptions with"
    " the same form writes what is said in its own language"
}
"""What to do instead, by the paths that clients expect and that are not here."""
_NO_CLOSE = {1005, 1006}
"""uvicorn's codes for a connection that ends without a close frame, or without a code in it."""


class WebSocketChannel:
    """A Starlette WebSocket as a `Channel`.

    first_message: received before those of the client, unless empty.
    """

    def __init__(self, websocket: WebSocket, first_message: str = "") -> None:
        self._websocket = websocket
        self._first_message = first_message

    async def receive(self) -> Message | None:
        """The next message; None when the peer has closed.

        Raises ConnectionError when the connection broke without a close frame with a code.
        """
        if self._first_message:
            message, self._first_message = self._first_message, ""
            return message
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            if event.get("code") in _NO_CLOSE:
                raise ConnectionError("the connection broke")
            return None
        text: str | None = event.get("text")
        return text if text is not None else bytes(event["bytes"])

    async def send(self, message: Message) -> None:
        """Send a message. Raises ConnectionError when the peer is gone or closing."""
        try:
            if isinstance(message, str):
                await self._websocket.send_text(message)
            else:
                await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame. Raises ConnectionError when the peer is gone or closing."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError(str(error)) from error


class Gateway:
    """What all connections share: the engine, the slots and the running conversations."""

    def __init__(
        self, settings: Settings, timing: Timing | None = None, *, trust: Trust | None = None
    ) -> None:
        """timing: of endless sessions; that of the settings if None. trust: None without https."""
        self._settings = settings
        self._trust = trust
        self.home = Home(settings.auth, certified=lambda: trust.own_names if trust else ())
        """Who counts as part of the home network, over every protocol."""
        self._timing = timing or Timing.of(settings.rollover)
        self._limits = Bounds.of(settings.limits)
        self._engine: Engine | None = None
        self._loading: str | None = "the engine is loading"
        self._slots = Slots(0)
        self._conversations: dict[str, Conversation] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changes = Changes()
        self._line = Line()
        self._rest = Rest(self._limits, self._ready_engine, self._slot, self._line)
        self._ephemeral_keys = EphemeralKeys()

    def engine_loaded(self, engine: Engine) -> None:
        """Begin to serve with `engine`; the gateway makes its sessions endless."""
        self._engine = EndlessEngine(engine, self._timing)
        per_address = self._limits.sessions_per_address
        self._slots = Slots(engine.describe().capacity, per_address)
        self._loading = None

    def set_loading(self, reason: str | None) -> None:
        """Set the reason why the engine does not serve now, or None when it serves again.

        Open sessions go on: they wait for the engine themselves.
        """
        self._loading = reason

    @property
    def info(self) -> EngineInfo | None:
        """The engine's description of itself; None until an engine is loaded."""
        return self._engine.describe() if self._engine else None

    async def drain(self, *, is_restart: bool = False) -> None:
        """Let running sessions send their last words, within limits.stop_timeout_s.

        is_restart: resumable sessions send none, because their clients go on with the next server.
        """
        for conversation in list(self._conversations.values()):
            if is_restart:
                conversation.restart(errors.restarting())
            else:
                conversation.stop(errors.stopping())
        timeout_s = self._limits.stop_timeout_s
        async with task_group() as tasks:
            tasks.create_task(self._rest.drain(timeout_s))
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=timeout_s)

    def close(self) -> None:
        """End the processes of the gateway; after `drain`, or instead of it."""
        self._rest.close()

    def app(self) -> ASGIApp:
        """The ASGI application."""
        auth = self._settings.auth
        secrets = ClientSecrets(self._limits, self._ready_engine, self._ephemeral_keys)
        key_check = KeyCheck(auth, sign_in_file(self._settings))
        sign_in = SignIn(key_check, auth, self._limits, self._trust)
        routes = [
            *front.routes(self._trust),
            Route("/health", self._health),
            Route("/healthz", self._health),  # Yap's name for it
            *self._rest.routes(),
            *secrets.routes(),
            *sign_in.routes(),
            *(
                WebSocketRoute(path, partial(self._talk, make))
                for path, make in WEBSOCKET_PATHS.items()
            ),
            WebSocketRoute("/{path:path}", _refuse_websocket),
        ]
        web = Starlette(
            routes=routes, exception_handlers={HTTPException: _refuse_request, Exception: _fail}
        )
        keys = self._ephemeral_keys
        return Doorkeeper(web, auth, ephemeral_keys=keys, key_check=key_check, home=self.home)

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

    async def _talk(self, make: MakeDialect, websocket: WebSocket) -> None:
        """Serve one WebSocket, whatever its protocol."""
        await websocket.accept()
        query = websocket.query_params
        resume = (query["resume"], query.get("seen", "")) if "resume" in query else None
        first_message = "" if resume else first_message_of(websocket.scope)
        channel, dialect = WebSocketChannel(websocket, first_message), make(self.info, query)
        peer = websocket.client.host if websocket.client else "unknown"
        if refusal := refusal_of(websocket.scope):
            return await self._part(channel, dialect, refusal)
        give_back = partial(self._ephemeral_keys.give_back, ephemeral_key_of(websocket.scope))
        return await self.converse(channel, dialect, peer, resume=resume, on_refusal=give_back)

    async def converse(
        self,
        channel: Channel,
        dialect: Dialect,
        peer: str,
        *,
        resume: tuple[str, str] | None = None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve a client over any transport, then close it.

        resume: the token of the session to resume, and the number of the last event seen, as text.
        on_refusal: called if no session begins or is resumed.
        """
        reason: LanscribeError | None
        try:
            if resume is not None:
                reason = await self._resume(channel, *resume)
            else:
                reason = await self._begin(peer, channel, dialect)
        except LanscribeError as error:
            reason = error
            on_refusal()
        except Exception:
            log.exception("a connection ended by a defect of the server")
            reason = errors.defect()
        await self._part(channel, dialect, reason)

    async def _begin(self, peer: str, channel: Channel, dialect: Dialect) -> LanscribeError | None:
        """Serve a new session; return why it ended, None when there is nothing left to send."""
        engine = self._ready_engine()
        if dialect.refusal is not None:
            raise dialect.refusal
        await self._let_the_last_one_out(peer)
        with ExitStack() as slot:
            slot.enter_context(self._slots.take(peer))
            waiting = sample_count(self._limits.waiting_audio_s)
            lag = LagMeter(self._limits.lag_s)
            session = Session(waiting, engine.detector(), lag)
            resume = self._settings.resume
            conversation = Conversation(dialect, engine, session, self._limits, resume, self._line)
            log.info("%s: open (%d of %d) from %s", conversation.session_id, *self._load(), peer)
            self._keep(asyncio.create_task(self._host(conversation, slot.pop_all())))
        return await self._serve(conversation.attach(channel))

    async def _resume(self, channel: Channel, token: str, seen: str) -> LanscribeError | None:
        """Resume a session over a new socket. Raises ClientError when there is no such session."""
        conversation = self._conversations.get(token)
        is_number = seen.isdecimal() and len(seen) <= _MAX_DIGITS
        if conversation is None or not is_number:
            raise ClientError(
                "resume_failed",
                "got a resume token without a running session, or an invalid number of the last"
                " event seen; begin a new session",
            )
        log.info("%s: resumed", conversation.session_id)
        return await self._serve(conversation.reattach(channel, int(seen)))

    async def _host(self, conversation: Conversation, slot: ExitStack) -> None:
        """Run a session to its end, over all its sockets."""
        token = conversation.resume_token
        self._conversations[token] = conversation
        try:
            with slot:
                await conversation.run()
        except Exception:
            log.exception("%s: ended by a defect of the server", conversation.session_id)
        finally:
            del self._conversations[token]
            log.info("%s: ended", conversation.session_id)
            self._changes.tell()

    async def _let_the_last_one_out(self, peer: str) -> None:
        """Wait a moment for a slot, so that a client that reconnects at once is not refused."""
        await self._changes.until_at_most(LEAVING_S, lambda: self._slots.has_room(peer))

    @asynccontextmanager
    async def _slot(self, address: str) -> AsyncIterator[None]:
        """Hold a slot. Raises LimitError when none is free for this address."""
        await self._let_the_last_one_out(address)
        try:
            with self._slots.take(address):
                yield
        finally:
            self._changes.tell()

    async def _serve(self, serving: Coroutine[Any, Any, _T]) -> _T:
        """Await `serving` as a task that the server waits for when it ends."""
        return await self._keep(asyncio.create_task(serving))

    def _keep(self, task: asyncio.Task[_T]) -> asyncio.Task[_T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _part(
        self, channel: Channel, dialect: Dialect, reason: LanscribeError | None
    ) -> None:
        """Close the socket of a conversation that has ended, or goes on over another socket."""
        if reason is not None:
            log.info("closed: %s", reason)
            await refuse(channel, dialect, reason, self._limits)
        else:
            with suppress(ConnectionError):
                await channel.close(1000, "")

    def _load(self) -> tuple[int, int]:
        return self._slots.taken, self._slots.capacity

    def _ready_engine(self) -> Engine:
        if self._engine is None or self._loading:
            raise EngineUnavailable(f"{self._loading}; try again in a few seconds")
        return self._engine


async def _refuse_websocket(websocket: WebSocket) -> None:
    """Refuse a WebSocket at an unknown path."""
    path, all_paths = websocket.scope["path"], ", ".join(WEBSOCKET_PATHS)
    message = f"got a WebSocket at {path[:200]!r}; expected one of {all_paths}"
    if known := paths.meant(path, WEBSOCKET_PATHS):
        message += f"; {paths.advice(known, _origin(websocket))}"
    await websocket.receive()
    await websocket.send_denial_response(error_response(ProtocolError("not_found", message)))


async def _refuse_request(request: Request, error: Exception) -> Response:
    """The answer to a request with an unknown path or method."""
    assert isinstance(error, HTTPException)
    path, headers = request.scope["path"], error.headers or {}
    code, hint = "not_found", _HINTS.get(path) or _hint(request)
    if error.status_code == 405:
        code, hint = "method_not_allowed", f"expected {headers.get('Allow')}"
        if path == FILES_PATH:
            hint += f" with a file: curl {_origin(request)}{path} -F file=@sound.wav"
    message = f"got {request.method} {path[:200]!r}; {hint}"
    response = error_response(ProtocolError(code, message))
    response.headers.update(headers)
    return response


def _hint(request: Request) -> str:
    """What to do about a path that is not there for HTTP."""
    path = request.scope["path"]
    http = [route.path for route in request.app.routes if isinstance(route, Route)]
    known = paths.meant(path, [*http, *WEBSOCKET_PATHS])
    if known is None:
        return "GET / lists the paths"
    if known in http:
        return paths.advice(known, _origin(request))
    return f"this is a WebSocket; connect with ws:// or wss://: {_origin(request, 'ws')}{known}"


def _origin(connection: HTTPConnection, scheme: str = "") -> str:
    """The server as the client has named it, such as http://box:8000."""
    url = connection.base_url
    secure = "s" if url.scheme in {"https", "wss"} and scheme else ""
    return f"{scheme + secure or url.scheme}://{url.netloc[:200]}"


async def _fail(_request: Request, _error: Exception) -> Response:
    """The answer to a request that met a defect; uvicorn logs the traceback."""
    return error_response(errors.defect())
