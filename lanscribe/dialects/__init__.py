"""One sans-IO codec per protocol, and which path speaks which."""

from collections.abc import Callable, Mapping

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.mistral import MistralDialect
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.yap import YapDialect
from lanscribe.engines.base import EngineInfo

MakeDialect = Callable[[EngineInfo | None, Mapping[str, str]], Dialect]
"""From the engine (None while there is none) and the query of the request, a session's codec."""

WEBSOCKET_PATHS: Mapping[str, MakeDialect] = {
    "/v1/realtime": NegotiatingDialect,
    "/v1/audio/transcriptions/realtime": MistralDialect,
    "/ws": YapDialect,
    "/api/asr-streaming": YapDialect,
}
