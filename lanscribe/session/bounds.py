"""The bounds on clients: those in the settings, and those that nobody needs to change."""

from typing import Self

from lanscribe.config import LimitSettings


class Bounds(LimitSettings):
    """The bounds that a server runs with; tests shorten the timeouts."""

    handshake_timeout_s: float = 10.0
    """How long a new connection may take to send its request."""
    close_timeout_s: float = 2.0
    """How long to wait for a connection to close."""
    ping_after_s: float = 20.0
    """After how long without a message to a WebSocket it gets a ping; proxies cut one that is
    silent, nginx after 60 s, some routers and VPNs after 30."""
    vanished_s: float = 60.0
    """How long a client may leave TCP unanswered before its connection is dropped, on Linux."""
    messages_per_s: int = 1000
    """Messages of a client that are read per second; a burst may hold ten times as many."""
    bytes_per_s: int = 32 * 2**20
    """Bytes of a client that are read per second: 1000 times the rate of speech."""
    kept_messages: int = 20_000
    """Messages kept until the client acknowledges them. There are 13 per second from Voxtral, and
    6 from the embedded engine, tentative words included; with these they take up to 450 bytes."""

    @classmethod
    def of(cls, limits: LimitSettings) -> Self:
        """The bounds from these settings; a `Bounds` is returned unchanged."""
        return limits if isinstance(limits, cls) else cls(**limits.model_dump())
