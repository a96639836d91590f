"""What a client was sent, kept until it says that it has it, so that a broken socket loses none."""

from collections import deque
from itertools import islice

from lanscribe.dialects.events import Message
from lanscribe.errors import ClientError


class Outbox:
    """The messages to one client, numbered 1, 2, 3, ...; of those sent the newest are kept.

    limit: how many are kept, unless more of them are not even sent.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Message] = deque()
        self.end = 0
        """The number of the newest message; 0 before the first."""
        self.sent = 0
        """The number of the last message that the client was sent."""

    @property
    def oldest(self) -> int:
        """The number of the oldest message that is kept; end + 1 when there is none."""
        return self.end - len(self._messages) + 1

    def append(self, message: Message) -> None:
        """Add the next message; beyond the limit the oldest one is forgotten, if it was sent."""
        self.end += 1
        self._messages.append(message)
        while len(self._messages) > self._limit and self.oldest <= self.sent:
            self._messages.popleft()

    @property
    def unsent(self) -> int:
        """How many messages the client was not sent yet."""
        return self.end - self.sent

    @property
    def has_overflown(self) -> bool:
        """Whether more than the limit are not sent."""
        return self.unsent > self._limit

    def acknowledge(self, number: int) -> None:
        """The client has all up to this number; they are forgotten, if they were sent."""
        while self._messages and self.oldest <= min(number, self.sent):
            self._messages.popleft()

    def after(self, number: int) -> list[Message]:
        """The messages after that one. Raises ClientError when some of them are gone."""
        if not self.oldest - 1 <= number <= self.end:
            raise ClientError(
                "resume_failed",
                f"the events after number {number} are not here, only those from {self.oldest} to"
                f" {self.end}; begin a new session",
            )
        return list(islice(self._messages, number - self.oldest + 1, None))
