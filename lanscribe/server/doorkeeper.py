"""Checks access before any other code sees a request."""

import logging
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from lanscribe import PROJECT_DIR
from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError, ConfigError, GuessError
from lanscribe.server import keys
from lanscribe.server.access import (
    check_host,
    check_origin,
    check_peer_is_home,
    chosen_subprotocol,
    client_address,
    has_key,
    offered_keys,
)
from lanscribe.server.crowd import AddressPaces
from lanscribe.server.ephemeral import EphemeralKeys
from lanscribe.server.guesses import Guesses
from lanscribe.server.http_errors import error_response

log = logging.getLogger(__name__)

TOLD_ON_THE_SOCKET = frozenset({"/ws", "/api/asr-streaming", "/v1/audio/transcriptions/realtime"})
"""WebSocket paths that are accepted first, so that a refusal is told in their own protocol."""
_KEYLESS_PATHS = frozenset({"/health", "/healthz"})
"""Monitoring tools have no key: in key mode these paths follow the rules of lan mode."""
_MARKS_OF_A_PROXY = frozenset({"forwarded", "x-real-ip"})
"""Headers that proxies send instead of X-Forwarded-For; their values are never trusted."""
_REALTIME_PATHS = frozenset({"/v1/realtime"})
"""Where ephemeral keys are keys."""
_REFUSAL = "refusal"
_FIRST_MESSAGE = "first_message"
_WARNINGS_PER_S = 0.1
_WARNINGS_AT_ONCE = 10
"""Per address: a flood of warnings would push everything older out of the log."""
_MOST_KEYS = 4
"""How many keys of a request are compared; a client that sends its key in several ways has two."""


def configured_key(auth: AuthSettings) -> str | None:
    """The key; None if absent and not needed.

    Raises ConfigError if it is absent in key mode, and if it is not usable.
    """
    if key := auth.key.get_secret_value():
        keys.check(key, auth.key_name, "choose another")
        return key
    if auth.mode == "open":
        return None
    path = PROJECT_DIR / auth.key_file
    key_in_file = keys.read(path)
    if key_in_file is None and auth.mode == "key":
        raise ConfigError(
            f'auth.mode: got "key", but there is no key in {path}; bash serve.sh key make makes'
            " one there, as bash setup.sh does in config/key; or set LANSCRIBE_AUTH_KEY"
        )
    return key_in_file


def refusal_of(scope: Scope) -> AuthError | None:
    """Why the endpoint has to refuse a request that was passed on; None if it was admitted."""
    refusal = scope.get("state", {}).get(_REFUSAL)
    return refusal if isinstance(refusal, AuthError) else None


def first_message_of(scope: Scope) -> str:
    """What a session is told before its client's messages: the settings of its ephemeral key."""
    return str(scope.get("state", {}).get(_FIRST_MESSAGE, ""))


class Doorkeeper:
    """Refuses requests without access, before any other code sees them.

    An admitted request has the client's own address, also behind a proxy. A WebSocket at one of
    `told_on_the_socket` is passed on even if it is refused, unless its address guesses keys: its
    endpoint asks `refusal_of`.
    """

    def __init__(
        self,
        app: ASGIApp,
        auth: AuthSettings,
        told_on_the_socket: AbstractSet[str] = TOLD_ON_THE_SOCKET,
        clock: Callable[[], float] = time.monotonic,
        ephemeral_keys: EphemeralKeys | None = None,
    ) -> None:
        """clock: seconds since any moment, as for the ephemeral keys.

        Raises ConfigError as `configured_key` does.
        """
        self._app = app
        self._auth = auth
        self._key = configured_key(auth)
        self._told_on_the_socket = told_on_the_socket
        self._clock = clock
        self._ephemeral_keys = ephemeral_keys or EphemeralKeys()
        self._guesses = Guesses()
        self._warnings = AddressPaces(_WARNINGS_PER_S, _WARNINGS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer 401, 403 or 429 with the reason."""
        refusal = self._refusal(scope)
        if refusal is not None:
            is_guesser = isinstance(refusal, GuessError)
            log.log(self._level(scope), "turned away: %s", refusal)
            is_websocket = scope["type"] == "websocket"
            is_told = is_websocket and scope["path"] in self._told_on_the_socket
            if is_guesser or not is_told:
                await _refuse(refusal, scope, receive, send)
                return
            scope["state"] = {**scope.get("state", {}), _REFUSAL: refusal}
        await self._app(scope, receive, _choosing_subprotocol(scope, send))

    def _level(self, scope: Scope) -> int:
        """The log level of a refusal: the first few of an address are warnings, others debug."""
        peer = (scope.get("client") or ("", 0))[0]
        is_rare = self._warnings.take(peer, 0, self._clock()) == 0
        if is_rare:
            self._warnings.take(peer, 1, self._clock())
        return logging.WARNING if is_rare else logging.DEBUG

    def _refusal(self, scope: Scope) -> AuthError | None:
        """Why the request is refused; else None, and the sender's address is in the scope."""
        request = HTTPConnection(scope)
        peer, port = request.client or ("", 0)
        forwarded_for = request.headers.getlist("x-forwarded-for")
        if not forwarded_for and not _MARKS_OF_A_PROXY.isdisjoint(request.headers):
            forwarded_for = [""]  # a proxy that does not name its client
        address = client_address(peer, forwarded_for, self._auth.proxies)
        try:
            self._check(request, address, peer)
        except AuthError as error:
            return error
        scope["client"] = (address or peer, port)
        return None

    def _check(self, request: HTTPConnection, address: str | None, peer: str) -> None:
        subprotocols = request.scope.get("subprotocols", [])
        offered = offered_keys(request.headers, request.query_params, subprotocols)
        ephemeral = list(filter(self._ephemeral_keys.is_known, offered))
        if ephemeral and _is_realtime(request.scope):
            self._use(ephemeral[0], request.scope)
            return
        if self._auth.mode == "open":
            return
        refusal: AuthError | None = None
        if self._auth.mode == "lan" or request.scope["path"] in _KEYLESS_PATHS:
            refusal = self._foreign(request, address)
            if refusal is None:
                return
        if not offered:
            raise refusal or _unauthorized("got no key")
        others = [key for key in offered if key not in ephemeral]
        if not others:
            raise _unauthorized("got an ephemeral key, which admits to WebSockets at /v1/realtime")
        self._check_key(others, address or peer, refusal)

    def _use(self, ephemeral_key: str, scope: Scope) -> None:
        first_message = self._ephemeral_keys.use(ephemeral_key, self._clock())
        scope["state"] = {**scope.get("state", {}), _FIRST_MESSAGE: first_message}

    def _check_key(self, offered: list[str], address: str, foreign: AuthError | None) -> None:
        """Admit a sender with the right key, unless paused. foreign: why it needs a key."""
        now_s = self._clock()
        if (pause_s := self._guesses.pause_s(address, now_s)) > 0:
            raise GuessError(pause_s)
        shown = list(dict.fromkeys(offered))[:_MOST_KEYS]
        if has_key(shown, self._key):
            self._guesses.right(address, now_s)
            return
        if (pause_s := self._guesses.wrong(address, len(shown), now_s)) > 0:
            log.warning(
                "%.200r has shown too many wrong keys: its keys are ignored for %.0f s",
                address,
                pause_s,
            )
        without = f", and without it {foreign}" if foreign else ""
        raise _unauthorized(f"got a wrong key{without}") from foreign

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
        host = request.headers.get("host")
        check_peer_is_home(address)
        check_host(host, self._auth.hostnames)
        for origin in request.headers.getlist("origin"):
            check_origin(origin, host)


def _is_realtime(scope: Scope) -> bool:
    """Whether it asks for a session that an ephemeral key may admit to."""
    return scope["type"] == "websocket" and scope["path"] in _REALTIME_PATHS


def _unauthorized(why: str) -> AuthError:
    how = "the key goes into 'Authorization: Bearer KEY', or ?api_key=KEY"
    return AuthError("unauthorized", f"{why}; {how}")


async def _refuse(error: AuthError, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error)
    if scope["type"] == "websocket":
        await receive()
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def _choosing_subprotocol(scope: Scope, send: Send) -> Send:
    """`send`, which accepts with an offered subprotocol when the endpoint chooses none."""
    chosen = chosen_subprotocol(scope.get("subprotocols", []))

    async def send_with_subprotocol(message: Message) -> None:
        if message["type"] == "websocket.accept" and chosen and not message.get("subprotocol"):
            message = {**message, "subprotocol": chosen}
        await send(message)

    return send_with_subprotocol
