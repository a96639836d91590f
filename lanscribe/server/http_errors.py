"""Errors over HTTP, all in one shape: OpenAI's."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from lanscribe.dialects.json_text import to_json
from lanscribe.errors import LanscribeError, ProtocolError

_RETRY_AFTER_S = 5


class JsonResponse(Response):
    """An answer in JSON, which may hold any string that a client sent."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return to_json(content).encode()


class FieldError(ProtocolError):
    """A field of the form has a wrong value, or is missing."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__("invalid_request", f"{name}: {message}")
        self.field = name


def error_response(
    error: LanscribeError, status: int = 0, so_far: Mapping[str, Any] | None = None
) -> Response:
    """The answer to a request that failed.

    status: used instead of the status of the error's code, unless 0. so_far: fields that tell what
    was done before the error.
    """
    status = status or error.kind.http_status
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503 or error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s or _RETRY_AFTER_S))
    return JsonResponse(error_content(error, so_far), status, headers)


def error_content(error: LanscribeError, so_far: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape. so_far: fields that tell what was done before it."""
    is_ours = error.kind.http_status >= 500
    details = {
        "message": error.public_message,
        "type": "server_error" if is_ours else "invalid_request_error",
        "param": error.field if isinstance(error, FieldError) else None,
        "code": error.code,
    }
    return {"error": details | dict(so_far or {})}
