"""The interface of every dialect: a codec between messages and events, one for each session. It
has no state beyond what the protocol needs, and does no input or output."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from lanscribe.dialects.events import ClientEvent, Message, ServerEvent
from lanscribe.errors import ClientError


class Dialect(Protocol):
    """A wire protocol."""

    name: str

    @property
    def refusal(self) -> ClientError | None:
        """Why the client is refused before its session begins, such as for its URL's query."""

    def decode(self, message: Message) -> Iterable[ClientEvent]:
        """Decode a message of the client. Raises ProtocolError for an invalid one.

        Audio that takes work to decode is decoded on demand, one piece at a time.
        """

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """The messages that report `event` to a client; none if the protocol cannot express it."""
