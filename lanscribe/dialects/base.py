"""What every dialect offers: a codec between messages and events, one for each session, with
no state of its own beyond what the protocol needs, and without input or output."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from lanscribe.dialects.events import ClientEvent, Message, ServerEvent


class Dialect(Protocol):
    """A wire protocol."""

    name: str

    def decode(self, message: Message) -> Iterable[ClientEvent]:
        """What the client means. Raises ProtocolError for what it should not have sent.

        Audio that takes work to decode is decoded as it is asked for, a piece at a time.
        """

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """The messages that tell a client of `event`; none if the protocol has no word for it."""
