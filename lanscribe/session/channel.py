"""What a conversation is held over: messages of one client, whatever carries them."""

import asyncio
import logging
from typing import Protocol

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import Failure, Message
from lanscribe.errors import LanscribeError
from lanscribe.session.bounds import Bounds

log = logging.getLogger(__name__)


class Channel(Protocol):
    """A message transport, such as a WebSocket."""

    async def receive(self) -> Message | None:
        """The next message; None when the peer has closed. May be cancelled without loss.

        Raises ConnectionError when the peer is gone without having closed.
        """

    async def send(self, message: Message) -> None:
        """Send a message. Raises ConnectionError when the peer is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close with an RFC 6455 close code; does nothing when the peer is gone."""


async def refuse(channel: Channel, dialect: Dialect, error: LanscribeError, limits: Bounds) -> None:
    """Tell the client why, then close; give up on one that does not take it."""
    try:
        async with asyncio.timeout(limits.close_timeout_s):
            for message in dialect.encode(Failure(error)):
                await channel.send(message)
            await channel.close(error.close_code or 1000, error.code)
    except (TimeoutError, ConnectionError):
        log.debug("the client left before it could be told: %s", error)
