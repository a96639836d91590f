"""The transport of a conversation: messages to and from one client, whatever carries them."""

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
        """Return the next message; None when the peer has closed. Cancelling it loses nothing.

        Raises ConnectionError when the peer is gone without closing.
        """

    async def send(self, message: Message) -> None:
        """Send a message. Raises ConnectionError when the peer is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close with an RFC 6455 close code; does nothing when the peer is gone."""


async def refuse(channel: Channel, dialect: Dialect, error: LanscribeError, limits: Bounds) -> None:
    """Tell the client why, then close; abandon a client that does not read it."""
    try:
        async with asyncio.timeout(limits.close_timeout_s):
            for message in dialect.encode(Failure(error)):
                await channel.send(message)
            await channel.close(error.close_code or 1000, error.code)
    except (TimeoutError, ConnectionError):
        log.debug("the client left before it could be told: %s", error)
