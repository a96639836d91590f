"""The error tree and the table of its codes.

Every error that a client or an operator can see is a `LanscribeError` with a code from
`CODES`. A code is stable: programs match on it. A message is for people: it says what was got,
what was expected and what to do. The table holds all facts about a code; the protocols, HTTP and
Wyoming take them from there, and tests hold docs/protocol.md and the two clients to it.
"""

from dataclasses import dataclass

_SERVICE_RESTART = 1012
"""IANA's WebSocket Close Code Number Registry."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What a code means, for every reader and in every protocol."""

    meaning: str
    close_code: int | None = None
    """The close code of a WebSocket (RFC 6455 section 7.4; 4000-4999 are private use); None if
    the connection stays usable after the error."""
    http_status: int = 400
    """The status of an HTTP answer; protocols whose codes are numbers use it too."""
    is_passing: bool = False
    """Whether a client may retry by itself: nobody has to change anything."""
    is_of_message: bool = False
    """Whether only the shape of one message is wrong, so work in progress is not affected."""


CODES: dict[str, ErrorCode] = {
    "invalid_json": ErrorCode("a text frame is not JSON", is_of_message=True),
    "invalid_event": ErrorCode(
        "a message lacks a field or a field has the wrong type", is_of_message=True
    ),
    "unknown_event": ErrorCode(
        "the type of a message is not one of the protocol", is_of_message=True
    ),
    "out_of_order": ErrorCode("a message came before or after its turn", http_status=409),
    "invalid_audio": ErrorCode(
        "audio is empty, not base64, or has samples that are not numbers", is_of_message=True
    ),
    "model_not_found": ErrorCode("the model asked for is not the one served", http_status=404),
    "model_not_validated": ErrorCode("a commit came before a session.update with a model"),
    "invalid_timestamp_granularity": ErrorCode("times are asked for of what has none"),
    "invalid_request": ErrorCode("an HTTP request, or a field of it, is not what it should be"),
    "not_found": ErrorCode("nothing is at the path of a request", http_status=404),
    "method_not_allowed": ErrorCode("what is at the path takes another method", http_status=405),
    "invalid_file": ErrorCode("nothing of an uploaded file can be heard"),
    "upload_too_large": ErrorCode("an upload is larger than limits.upload_bytes", http_status=413),
    "upload_too_slow": ErrorCode(
        "an upload was slow while another waited for its place", http_status=408
    ),
    "storage_full": ErrorCode("the server's disk has no room for the upload", http_status=507),
    "processing_error": ErrorCode(
        "the engine failed on this utterance", http_status=500, is_passing=True
    ),
    "input_audio_buffer_commit_empty": ErrorCode("a commit came without audio before it"),
    "audio_buffer_full": ErrorCode(
        "too much audio is waiting for its first commit", http_status=429
    ),
    "too_many_utterances": ErrorCode("too many committed utterances are waiting", http_status=429),
    "engine_unavailable": ErrorCode(
        "the engine is still loading or has failed to load", 1013, 503, is_passing=True
    ),
    "server_busy": ErrorCode(
        "as many sessions run as this machine holds in real time", 1013, 503, is_passing=True
    ),
    "unauthorized": ErrorCode("the key is missing or wrong", 1008, 401),
    "too_many_guesses": ErrorCode("the address has shown too many wrong keys", 1008, 429),
    "not_allowed": ErrorCode("the address, host or origin may not use this server", 1008, 403),
    "message_too_large": ErrorCode("a message is larger than the server takes", 1009),
    "idle_timeout": ErrorCode("nothing was sent and nothing was running for too long", 4000, 408),
    "session_too_long": ErrorCode("the session has lasted as long as one may", 4003, 413),
    "resume_failed": ErrorCode("the session to resume has ended, or its events are gone", 4004),
    "resumed_elsewhere": ErrorCode("the session goes on over a newer socket", 4001),
    "client_too_slow": ErrorCode("the client does not read what it is sent", 1008, 408),
    "server_stopping": ErrorCode("the server was asked to stop", 1001, 503, is_passing=True),
    "internal": ErrorCode(
        "a defect of the server; its log has the traceback", 1011, 500, is_passing=True
    ),
    "config_invalid": ErrorCode("a setting is unknown, of the wrong type or out of range"),
}


class LanscribeError(Exception):
    """An error with a stable code and a message that may be shown to anyone.

    Raises KeyError when `code` is not in CODES: an unlisted code is a defect.
    """

    def __init__(self, code: str, public_message: str, *, close_code: int | None = None) -> None:
        super().__init__(public_message)
        self.code = code
        self.kind = CODES[code]
        """The table's entry for the code."""
        self.close_code = close_code or self.kind.close_code
        self.public_message = public_message
        self.retry_after_s: float | None = None
        """How long to wait before trying again, if that is known."""


class ConfigError(LanscribeError):
    """A setting is wrong; the program exits with 2."""

    def __init__(self, public_message: str) -> None:
        super().__init__("config_invalid", public_message)


class ClientError(LanscribeError):
    """The client did something that the server refuses."""


class ProtocolError(ClientError):
    """A message cannot be understood, or does not fit the state of its session."""


class AuthError(ClientError):
    """The peer may not come in."""


class GuessError(AuthError):
    """The peer has guessed the key too often and must wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "too_many_guesses",
            f"too many wrong keys came from this address; the next is checked in {wait_s:.0f} s",
        )
        self.retry_after_s = wait_s


class LimitError(ClientError):
    """A bound of the server was reached."""


class EngineError(LanscribeError):
    """The engine could not do its work."""


class EngineUnavailable(EngineError):
    """The engine is not loaded (yet)."""

    def __init__(self, public_message: str) -> None:
        super().__init__("engine_unavailable", public_message)


class EngineFailed(EngineError):
    """The engine broke while it worked on an utterance."""

    def __init__(self, public_message: str) -> None:
        super().__init__("processing_error", public_message)


def defect() -> LanscribeError:
    """Something unforeseen happened."""
    return LanscribeError("internal", "a defect of the server; its log says more")


def stopping() -> LanscribeError:
    """Somebody stops the server."""
    return LanscribeError("server_stopping", "the server was asked to stop; connect again later")


def restarting() -> LanscribeError:
    """Somebody stops the server in order to start it again at once."""
    return LanscribeError(
        "server_stopping",
        "the server is being restarted; connect again in a moment",
        close_code=_SERVICE_RESTART,
    )


def resumed_elsewhere() -> LanscribeError:
    """The client has come back over another socket."""
    return LanscribeError("resumed_elsewhere", "the session goes on over a new socket")


def idle(timeout_s: float) -> LimitError:
    """It was the client's turn, and nothing came."""
    return LimitError(
        "idle_timeout", f"nothing was sent for {timeout_s:g} s; connect again when there is audio"
    )


def too_slow(timeout_s: float) -> LimitError:
    """The client does not read what it is sent."""
    return LimitError(
        "client_too_slow",
        f"the client read nothing for {timeout_s:g} s; read every message as it comes",
    )


def too_long(longest_s: float) -> LimitError:
    """The session has reached its longest duration."""
    return LimitError(
        "session_too_long", f"the session has lasted {longest_s:g} s, the most that is allowed"
    )
