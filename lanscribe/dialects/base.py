"""What every dialect offers: a codec between messages and events, without state of its own
beyond what the protocol needs, and without input or output."""

from collections.abc import Sequence
from typing import Protocol

from lanscribe.events import ClientEvent, ServerEvent

Message = str | bytes
"""One WebSocket message: str for a text frame, bytes for a binary one."""


class Dialect(Protocol):
    """A wire protocol."""

    name: str

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """What the client means. Raises ProtocolError for what it should not have sent."""

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """The messages that tell a client of `event`; none if the protocol has no word for it."""
