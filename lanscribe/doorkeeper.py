"""Who may come in, asked before anything else sees a request."""

import logging

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError, LanscribeError
from lanscribe.limits import check_host, check_origin, check_peer_is_home

log = logging.getLogger(__name__)


class Doorkeeper:
    """Turns away who may not come in, before anything else sees the request."""

    def __init__(self, app: ASGIApp, auth: AuthSettings) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer 403 with the reason."""
        try:
            if self._auth.mode == "lan":
                self._check(HTTPConnection(scope))
        except AuthError as error:
            log.warning("turned away: %s", error)
            response = error_response(error, 403)
            if scope["type"] == "websocket":
                await receive()
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, request: HTTPConnection) -> None:
        host = request.headers.get("host")
        check_peer_is_home(request.client.host if request.client else "")
        check_host(host, self._auth.hostnames)
        check_origin(request.headers.get("origin"), host)


def error_response(error: LanscribeError, status: int) -> Response:
    """An error as JSON."""
    return JSONResponse({"error": error.public_message, "code": error.code}, status)
