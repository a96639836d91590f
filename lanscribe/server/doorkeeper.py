"""Checks access before any other code sees a request."""

import logging
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError, GuessError
from lanscribe.server import cors, origins
from lanscribe.server.access import (
    chosen_subprotocol,
    client_address,
    is_in,
    offered_keys,
    parsed_networks,
)
from lanscribe.server.ephemeral import EphemeralKeys
from lanscribe.server.home import Home
from lanscribe.server.http_errors import error_response
from lanscribe.server.key_check import KeyCheck, unauthorized
from lanscribe.server.sign_in import (
    has_pass,
    is_secure,
    own_origins_of,
    refusal_page,
    sender_of,
    wants_page,
)

log = logging.getLogger(__name__)

TOLD_ON_THE_SOCKET = frozenset({"/ws", "/api/asr-streaming", "/v1/audio/transcriptions/realtime"})
"""WebSocket paths that are accepted first, so that a refusal is told in their own protocol."""
_KEYLESS_PATHS = frozenset({"/health", "/healthz"})
"""Monitoring tools have no key: in key mode these paths follow the rules of lan mode."""
_PUBLIC_PATHS = frozenset({"/trust", "/sign-in"})
_PUBLIC_FOLDERS = ("/trust/", "/pages/")
"""What a browser needs before it can show anything; no secret is there."""
_SIGN_IN_PATHS = frozenset({"/sign-in", "/sign-out"})
"""What is posted there is checked there."""
_MARKS_OF_A_PROXY = frozenset({"forwarded", "x-real-ip"})
"""Headers that proxies send instead of X-Forwarded-For; their values are never trusted."""
_REALTIME_PATHS = frozenset({"/v1/realtime"})
"""Where ephemeral keys are keys."""
_REFUSAL = "refusal"
_FIRST_MESSAGE = "first_message"
_EPHEMERAL_KEY = "ephemeral_key"


def refusal_of(scope: Scope) -> AuthError | None:
    """Why the endpoint has to refuse a request that was passed on; None if it was admitted."""
    refusal = scope.get("state", {}).get(_REFUSAL)
    return refusal if isinstance(refusal, AuthError) else None


def first_message_of(scope: Scope) -> str:
    """What a session is told before its client's messages: the settings of its ephemeral key."""
    return str(scope.get("state", {}).get(_FIRST_MESSAGE, ""))


def ephemeral_key_of(scope: Scope) -> str:
    """The ephemeral key that was used to admit a request; "" without one."""
    return str(scope.get("state", {}).get(_EPHEMERAL_KEY, ""))


class Doorkeeper:
    """Refuses requests without access, before any other code sees them.

    An admitted request has the client's own address and scheme, also behind a proxy. A WebSocket
    at one of TOLD_ON_THE_SOCKET is passed on even if it is refused, unless its address guesses
    keys: its endpoint asks `refusal_of`.
    """

    def __init__(
        self,
        app: ASGIApp,
        auth: AuthSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        ephemeral_keys: EphemeralKeys | None = None,
        key_check: KeyCheck | None = None,
        home: Home | None = None,
    ) -> None:
        """clock: seconds since any moment, as for the ephemeral keys.

        Raises ConfigError as `configured_key` does.
        """
        self._app = app
        self._auth = auth
        self._proxies = parsed_networks(auth.proxies)
        self._clock = clock
        self._ephemeral_keys = ephemeral_keys or EphemeralKeys()
        self._key_check = key_check or KeyCheck(auth, clock=clock)
        self._home = home or Home(auth)
        self._warnings = self._key_check.warnings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer 401, 403 or 429 with the reason."""
        request = HTTPConnection(scope)
        self._tell_of_left_out()
        if scope["type"] == "http":
            if cors.is_preflight(scope["method"], request.headers):
                answer = Response(status_code=204, headers=cors.preflight_headers(request.headers))
                await answer(scope, receive, send)
                return
            if not _tells_which_box(scope["path"]):
                send = _readable(request, send)
        refusal = self._refusal(request)
        if refusal is not None:
            is_guesser = isinstance(refusal, GuessError)
            log.log(self._level(scope), "turned away: %s", refusal)
            is_websocket = scope["type"] == "websocket"
            is_told = is_websocket and scope["path"] in TOLD_ON_THE_SOCKET
            if is_guesser or not is_told:
                await _refuse(refusal, scope, receive, send)
                return
            scope["state"] = {**scope.get("state", {}), _REFUSAL: refusal}
        await self._app(scope, receive, _choosing_subprotocol(scope, send))

    def _level(self, scope: Scope) -> int:
        """The log level of a refusal: the first few of an address are warnings, others debug."""
        peer = (scope.get("client") or ("unknown", 0))[0]
        is_rare = self._warnings.may_warn(self._clock(), peer)
        return logging.WARNING if is_rare else logging.DEBUG

    def _tell_of_left_out(self) -> None:
        if count := self._warnings.left_out(self._clock()):
            log.warning(
                "%d more warnings about refused requests were left out, because too many came at"
                ' once; logging.level = "debug" shows each',
                count,
            )

    def _refusal(self, request: HTTPConnection) -> AuthError | None:
        """Why the request is refused; else None, and the scope has the sender's own address."""
        scope = request.scope
        peer, port = request.client or ("", 0)
        forwarded_for = request.headers.getlist("x-forwarded-for")
        if not forwarded_for and not _MARKS_OF_A_PROXY.isdisjoint(request.headers):
            forwarded_for = [""]  # a proxy that does not name its client
        address = client_address(peer, forwarded_for, self._proxies)
        scope["scheme"] = self._scheme(request, peer)
        try:
            self._check(request, address, peer)
        except AuthError as error:
            return error
        scope["client"] = (address or peer, port)
        return None

    def _scheme(self, request: HTTPConnection, peer: str) -> str:
        """The scheme that the client itself has used."""
        scheme = request.scope.get("scheme", "http")
        forwarded = request.headers.getlist("x-forwarded-proto")
        is_by_proxy = bool(forwarded) and is_in(peer, self._proxies)
        is_secure = origins.is_secure(scheme, forwarded, is_by_proxy=is_by_proxy)
        plain = "ws" if request.scope["type"] == "websocket" else "http"
        return f"{plain}s" if is_secure else plain

    def _check(self, request: HTTPConnection, address: str | None, peer: str) -> None:
        subprotocols = request.scope.get("subprotocols", [])
        offered = offered_keys(request.headers, request.query_params, subprotocols)
        ephemeral = list(filter(self._ephemeral_keys.is_known, offered))
        if ephemeral and _is_realtime(request.scope):
            self._use(ephemeral[0], request.scope)
            return
        if self._auth.mode == "open" or _is_public(request.scope):
            return
        refusal: AuthError | None = None
        if self._auth.mode == "lan" or request.scope["path"] in _KEYLESS_PATHS:
            refusal = self._foreign(request, address)
            if refusal is None:
                return
        if has_pass(request, self._key_check, self._auth.origins):
            return
        if not offered:
            raise refusal or unauthorized("got no key")
        others = [key for key in offered if key not in ephemeral]
        if not others:
            raise unauthorized("got an ephemeral key, which admits to WebSockets at /v1/realtime")
        is_by_page = self._may_be_by_page(request)
        self._key_check.check(others, address or peer, refusal, is_by_page=is_by_page)

    def _may_be_by_page(self, request: HTTPConnection) -> bool:
        """Whether a page of another site may have sent the keys, in a browser at that address.

        Its browser adds Origin or Sec-Fetch-Site, but neither to a GET over plain http. So the page
        can send a key in the query, or any key to a Host of its own that leads here (rebinding).
        """
        sender = sender_of(request)
        try:
            sender.check_is_own(own_origins_of(request), self._auth.origins)
            if not is_secure(request):
                self._home.check_host(request.headers.get("host"))
        except AuthError:
            return True
        subprotocols = request.scope.get("subprotocols", [])
        return not (sender.is_told or offered_keys(request.headers, {}, subprotocols))

    def _use(self, ephemeral_key: str, scope: Scope) -> None:
        first_message = self._ephemeral_keys.use(ephemeral_key, self._clock())
        noted = {_FIRST_MESSAGE: first_message, _EPHEMERAL_KEY: ephemeral_key}
        scope["state"] = {**scope.get("state", {}), **noted}

    def _foreign(self, request: HTTPConnection, address: str | None) -> AuthError | None:
        """Why the sender does not count as part of the home network; None if it does."""
        try:
            self._check_is_home(request, address)
        except AuthError as error:
            return error
        return None

    def _check_is_home(self, request: HTTPConnection, address: str | None) -> None:
        if address is None:
            raise AuthError(
                "not_allowed",
                f"got the headers of a proxy from {request.client and request.client.host}; if it"
                " is yours, add it to auth.proxies, and let it send X-Forwarded-For",
            )
        is_direct = "x-forwarded-for" not in request.headers
        local = (request.scope.get("server") or ("", 0))[0] if is_direct else ""
        self._home.check_peer(address, local)
        self._home.check_host(request.headers.get("host"))
        own = own_origins_of(request)
        sender_of(request).check_is_own(own, self._auth.origins, may_open=True)


def _is_public(scope: Scope) -> bool:
    """Whether everybody may ask for this: nothing there is secret, or it is checked there."""
    if scope["type"] != "http":
        return False
    path, method = scope["path"], scope["method"]
    if method == "POST":
        return path in _SIGN_IN_PATHS
    is_page = path in _PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDERS)
    return method in {"GET", "HEAD"} and is_page


def _tells_which_box(path: str) -> bool:
    """Whether the answer has the fingerprint or the addresses, by which a page could track people.

    What is below /trust decides by itself which pages may read it.
    """
    return path == "/trust" or path.startswith("/trust/")


def _is_realtime(scope: Scope) -> bool:
    """Whether it asks for a session that an ephemeral key may admit to."""
    return scope["type"] == "websocket" and scope["path"] in _REALTIME_PATHS


async def _refuse(error: AuthError, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error)
    if scope["type"] == "websocket":
        await receive()
        await WebSocket(scope, receive, send).send_denial_response(response)
        return
    asked = HTTPConnection(scope)
    if wants_page(asked):
        response = refusal_page(error, response, asked)
    await response(scope, receive, send)


def _readable(request: HTTPConnection, send: Send) -> Send:
    """`send`, which lets the page that has asked read the answer, whatever it is."""
    sent = request.headers.getlist("origin")
    headers = cors.answer_headers(sent[0]) if len(sent) == 1 else {}

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start" and headers:
            answer = MutableHeaders(raw=list(message.get("headers", [])))
            answer.update(headers)
            answer.add_vary_header("Origin")
            message = {**message, "headers": answer.raw}
        await send(message)

    return send_readable


def _choosing_subprotocol(scope: Scope, send: Send) -> Send:
    """`send`, which accepts with an offered subprotocol when the endpoint chooses none."""
    chosen = chosen_subprotocol(scope.get("subprotocols", []))

    async def send_with_subprotocol(message: Message) -> None:
        if message["type"] == "websocket.accept" and chosen and not message.get("subprotocol"):
            message = {**message, "subprotocol": chosen}
        await send(message)

    return send_with_subprotocol
