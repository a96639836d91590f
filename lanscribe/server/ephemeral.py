"""Ephemeral keys: each admits one realtime session. Decisions, with the time as an argument.

An app gets one from its own server, so that it need not hold the key itself.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from lanscribe.errors import AuthError

LONGEST_S = 60.0
"""For how long a key is valid; its session may last longer."""
MOST_KEYS = 256
"""How many are remembered, used ones too; the oldest is forgotten first."""
_PREFIX = "ek_"
_KEY_BYTES = 32


@dataclass(slots=True)
class _Record:
    until_s: float
    first_message: str
    is_used: bool = False


class EphemeralKeys:
    """The keys that were made since the server has started, in memory alone."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def make(self, first_message: str, now_s: float, lifetime_s: float = LONGEST_S) -> str:
        """A new key. first_message: what its session is told before its client's messages."""
        key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        self._records[key] = _Record(now_s + min(lifetime_s, LONGEST_S), first_message)
        if len(self._records) > MOST_KEYS:
            self._records.popitem(last=False)
        return key

    def is_known(self, key: str) -> bool:
        """Whether it was made here, so that it is no guess, valid or not."""
        return key in self._records

    def use(self, key: str, now_s: float) -> str:
        """Use a known key up; the first message of its session.

        Raises AuthError if it was used before, or is too old.
        """
        record = self._records[key]
        if record.is_used or now_s > record.until_s:
            why = "was used before" if record.is_used else "has expired"
            raise AuthError(
                "unauthorized",
                f"got an ephemeral key that {why}; it admits one session, and not for long: ask"
                " for another with POST /v1/realtime/client_secrets",
            )
        record.is_used = True
        return record.first_message
