"""The error tree and the table of its codes.

Every error that a client or an operator can see is a `LanscribeError` with a code out of
`CODES`. A code is stable: programs match on it. A message is for people: what was got, what
was expected, what to do. docs/protocol.md lists every code, and a test holds that.
"""

from dataclasses import dataclass

_SERVICE_RESTART = 1012
"""IANA's WebSocket Close Code Number Registry."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What a code means, and the WebSocket close code when it ends the connection.

    close_code is None for an error after which the connection stays usable (RFC 6455 section
    7.4; 4000-4999 are private use).
    """

    close_code: int | None
    meaning: str


CODES: dict[str, ErrorCode] = {
    "invalid_json": ErrorCode(None, "a text frame is not JSON"),
    "invalid_event": ErrorCode(None, "a message lacks a field or a field has the wrong type"),
    "unknown_event": ErrorCode(None, "the type of a message is not one of the protocol"),
    "out_of_order": ErrorCode(None, "a message came before or after its turn"),
    "invalid_audio": ErrorCode(None, "audio is empty, not base64, or not whole PCM16 samples"),
    "model_not_found": ErrorCode(None, "the model asked for is not the one served"),
    "model_not_validated": ErrorCode(None, "a commit came before a session.update with a model"),
    "invalid_request": ErrorCode(
        None, "an HTTP request, or a field of it, is not what it should be"
    ),
    "not_found": ErrorCode(None, "nothing is at the path of a request"),
    "method_not_allowed": ErrorCode(None, "what is at the path takes another method"),
    "invalid_file": ErrorCode(None, "an uploaded file is empty, damaged, or holds no sound"),
    "upload_too_large": ErrorCode(None, "an upload is larger than limits.upload_bytes"),
    "recording_too_long": ErrorCode(
        None, "an uploaded file has more sound than its bytes can hold, or than a day"
    ),
    "upload_too_slow": ErrorCode(None, "an upload was slow while another waited for its place"),
    "storage_full": ErrorCode(None, "the server's disk has no room for the upload"),
    "processing_error": ErrorCode(None, "the engine failed on this utterance"),
    "input_audio_buffer_commit_empty": ErrorCode(None, "a commit came without audio before it"),
    "audio_buffer_full": ErrorCode(None, "too much audio is waiting for its first commit"),
    "too_many_utterances": ErrorCode(None, "too many committed utterances are waiting"),
    "engine_unavailable": ErrorCode(1013, "the engine is still loading or has failed to load"),
    "server_busy": ErrorCode(1013, "as many sessions run as this machine holds in real time"),
    "unauthorized": ErrorCode(1008, "the key is missing or wrong"),
    "too_many_guesses": ErrorCode(1008, "the address has shown too many wrong keys"),
    "not_allowed": ErrorCode(1008, "the address, host or origin may not use this server"),
    "message_too_large": ErrorCode(1009, "a message is larger than the server takes"),
    "idle_timeout": ErrorCode(4000, "nothing was sent and nothing was running for too long"),
    "session_too_long": ErrorCode(4003, "the session has lasted as long as one may"),
    "resume_failed": ErrorCode(4004, "the session to resume has ended, or its events are gone"),
    "resumed_elsewhere": ErrorCode(4001, "the session goes on over a newer socket"),
    "client_too_slow": ErrorCode(1008, "the client does not read what it is sent"),
    "server_stopping": ErrorCode(1001, "the server was asked to stop"),
    "internal": ErrorCode(1011, "a defect of the server; its log has the traceback"),
    "config_invalid": ErrorCode(None, "a setting is unknown, of the wrong type or out of range"),
}


class LanscribeError(Exception):
    """An error with a stable code and a message that may be shown to anyone.

    Raises KeyError when `code` is not in CODES: an unlisted code is a defect.
    """

    def __init__(self, code: str, public_message: str, *, close_code: int | None = None) -> None:
        super().__init__(public_message)
        self.code = code
        self.close_code = close_code or CODES[code].close_code
        self.public_message = public_message
        self.retry_after_s: float | None = None
        """When to try again, if that is known."""


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
    """The peer has guessed the key too often, and has to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "too_many_guesses",
            f"too many wrong keys came from this address; the next is looked at in {wait_s:.0f} s",
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
    """The client leaves what it is sent."""
    return LimitError(
        "client_too_slow",
        f"the client read nothing for {timeout_s:g} s; read every message as it comes",
    )


def too_long(longest_s: float) -> LimitError:
    """The session has had its time."""
    return LimitError(
        "session_too_long", f"the session has lasted {longest_s:g} s, the most that is allowed"
    )
