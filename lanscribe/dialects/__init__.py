"""One sans-IO codec per protocol, and the codec of each path."""

from collections.abc import Callable, Mapping

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.mistral import MistralDialect
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.yap import YapDialect
from lanscribe.engines.base import EngineInfo

MakeDialect = Callable[[EngineInfo | None, Mapping[str, str]], Dialect]
"""Makes a session's codec from the engine (None while absent) and the query of the request."""

WEBSOCKET_PATHS: Mapping[str, MakeDialect] = {
    "/v1/realtime": NegotiatingDialect,
    "/v1/audio/transcriptions/realtime": MistralDialect,
    "/ws": YapDialect,
    "/api/asr-streaming": YapDialect,
}
