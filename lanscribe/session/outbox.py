"""Messages to a client, kept until it acknowledges them: a broken socket loses none."""

from collections import deque
from itertools import islice

from lanscribe.dialects.events import Message
from lanscribe.errors import ClientError


class Outbox:
    """The messages to one client, numbered 1, 2, 3, ...; the newest of those sent are kept.

    limit: how many are kept; unsent messages are kept beyond it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Message] = deque()
        self.end = 0
        """The number of the newest message; 0 before the first."""
        self.sent = 0
        """The number of the last message sent to the client."""

    @property
    def oldest(self) -> int:
        """The number of the oldest kept message; end + 1 if none is kept."""
        return self.end - len(self._messages) + 1

    def append(self, message: Message) -> None:
        """Add the next message; beyond the limit, drop the oldest ones that were sent."""
        self.end += 1
        self._messages.append(message)
        while len(self._messages) > self._limit and self.oldest <= self.sent:
            self._messages.popleft()

    @property
    def unsent(self) -> int:
        """How many messages are not sent yet."""
        return self.end - self.sent

    @property
    def has_overflown(self) -> bool:
        """Whether more messages than the limit are not sent yet."""
        return self.unsent > self._limit

    def acknowledge(self, number: int) -> None:
        """Drop the messages up to this number that were sent: the client has them."""
        while self._messages and self.oldest <= min(number, self.sent):
            self._messages.popleft()

    def after(self, number: int) -> list[Message]:
        """Return the messages after this number. Raises ClientError if some of them are gone."""
        if not self.oldest - 1 <= number <= self.end:
            raise ClientError(
                "resume_failed",
                f"the events after number {number} are not here, only those from {self.oldest} to"
                f" {self.end}; begin a new session",
            )
        return list(islice(self._messages, number - self.oldest + 1, None))
