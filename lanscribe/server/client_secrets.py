"""OpenAI's interface for ephemeral keys: today's client secrets, and the beta's sessions."""

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.routing import Route

from lanscribe.dialects.events import Reply, SessionCreated
from lanscribe.dialects.fields import Fields, inner, kind, parsed, whole_number
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.engines.base import Engine
from lanscribe.errors import ProtocolError
from lanscribe.server.ephemeral import LONGEST_S, EphemeralKeys
from lanscribe.server.exchange import Exchange, answering
from lanscribe.server.http_errors import FieldError, JsonResponse
from lanscribe.session.bounds import Bounds

MOST_BYTES = 2**14
"""The largest request; the settings in it are kept with the key."""
_EXAMPLE = '{"session":{"type":"transcription"}}'


class ClientSecrets:
    """The routes of the interface."""

    def __init__(
        self, limits: Bounds, ready_engine: Callable[[], Engine], keys: EphemeralKeys
    ) -> None:
        """ready_engine raises EngineUnavailable."""
        self._limits = limits
        self._ready_engine = ready_engine
        self._keys = keys

    def routes(self) -> list[Route]:
        """The routes and their handlers."""
        secret = answering(self._make_secret, self._limits)
        session = answering(self._make_session, self._limits)
        return [
            Route("/v1/realtime/client_secrets", secret, methods=["POST"]),
            Route("/v1/realtime/transcription_sessions", session, methods=["POST"]),
        ]

    async def _make_secret(self, exchange: Exchange) -> None:
        """Today's form: the settings are in the field session."""
        request = _object(await exchange.body(MOST_BYTES))
        lifetime_s = _lifetime_s(inner(request, "expires_after"))
        update = {"type": "session.update", "session": inner(request, "session")}
        is_said = request.get("session") is not None
        session = self._session_after(update)
        secret = self._secret(to_json(update) if is_said else "", lifetime_s)
        await exchange.respond(JsonResponse(secret | {"session": session}))

    async def _make_session(self, exchange: Exchange) -> None:
        """The beta's form: the settings are the request."""
        request = _object(await exchange.body(MOST_BYTES))
        update = {"type": "transcription_session.update", "session": request}
        session = self._session_after(update)
        secret = self._secret(to_json(update), LONGEST_S)
        await exchange.respond(JsonResponse(session | {"client_secret": secret}))

    def _session_after(self, update: Fields) -> dict[str, Any]:
        """The whole session as it will be after this message. Raises ProtocolError."""
        dialect = OpenAiDialect(self._ready_engine().describe())
        dialect.encode(SessionCreated("", 0))
        (reply,) = (one for one in dialect.decode(to_json(update)) if isinstance(one, Reply))
        session: dict[str, Any] = json.loads(reply.messages[0])["session"]
        return session

    def _secret(self, first_message: str, lifetime_s: float) -> dict[str, Any]:
        key = self._keys.make(first_message, time.monotonic(), lifetime_s)
        return {"value": key, "expires_at": int(time.time() + lifetime_s)}


def _object(body: bytes) -> Fields:
    """The JSON object of a request, empty for an empty one. Raises ProtocolError."""
    try:
        value = parsed(body.decode()) if body else {}
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            "invalid_request", f"got a body that is not JSON: {error}; expected {_EXAMPLE}"
        ) from error
    if not isinstance(value, dict):
        raise ProtocolError("invalid_request", f"got {kind(value)}; expected {_EXAMPLE}")
    return value


def _lifetime_s(expires_after: Fields) -> float:
    if expires_after.get("seconds") is None:
        return LONGEST_S
    seconds = whole_number(expires_after["seconds"])
    if seconds is None or seconds < 1:
        got = f"{expires_after['seconds']!r:.50}"
        raise FieldError(
            "expires_after.seconds",
            f"got {got}; expected a whole number of 1 or more, of which {LONGEST_S:.0f} are given",
        )
    return min(seconds, LONGEST_S)
