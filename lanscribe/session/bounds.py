"""The bounds on clients: those of the settings, and those that nobody needs to change."""

from typing import Self

from lanscribe.config import LimitSettings


class Bounds(LimitSettings):
    """What a server runs with; tests shorten what they wait for."""

    handshake_timeout_s: float = 10.0
    """How long a new connection may take to send its request."""
    close_timeout_s: float = 2.0
    """How long a closing connection is waited for."""
    vanished_s: float = 60.0
    """How long TCP may get no answer from a client before its connection is dropped, on Linux."""
    messages_per_s: int = 1000
    """How many messages of a client are read in a second; ten times as many at once."""
    bytes_per_s: int = 32 * 2**20
    """Bytes of a client that are read in a second: 1000 times as fast as speech."""
    kept_messages: int = 20_000
    """Messages kept for a client that has not acknowledged them; 13 are a second."""

    @classmethod
    def of(cls, limits: LimitSettings) -> Self:
        """The bounds of these settings; bounds stay what they are."""
        return limits if isinstance(limits, cls) else cls(**limits.model_dump())
