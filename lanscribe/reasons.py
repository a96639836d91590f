"""Why a connection ends although its client did nothing wrong in the protocol."""

from lanscribe.errors import LanscribeError, LimitError

_SERVICE_RESTART = 1012
"""IANA's WebSocket Close Code Number Registry."""


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
