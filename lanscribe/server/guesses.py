"""How often an address may guess the key: a decision with the time as an argument."""

from collections import OrderedDict
from dataclasses import dataclass

from lanscribe.server.access import address_group

FREE_GUESSES = 5
"""A key typed wrong, or an old one in an app that tries again, is no attack."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""With that, an address has a few hundred guesses a day; the shortest key takes 10^17 of them."""
FORGOTTEN_S = 86_400.0
"""A day without a guess begins anew."""
TRUSTED_S = 86_400.0
MOST_ADDRESSES = 4096
"""Of each of the two tables: half a megabyte."""


@dataclass(slots=True)
class _Record:
    wrong: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Guesses:
    """Who guesses, and who is trusted; an address is an IPv4 address or an IPv6 /64."""

    def __init__(self) -> None:
        self._guessers: OrderedDict[str, _Record] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers) + len(self._trusted)

    def pause_s(self, address: str, now_s: float) -> float:
        """For how long the keys of an address are not to be looked at; 0 when they are."""
        group = address_group(address)
        record = self._guessers.get(group)
        if record is None or self._is_trusted(group, now_s):
            return 0.0
        return max(0.0, record.until_s - now_s)

    def wrong(self, address: str, count: int, now_s: float) -> float:
        """An address has shown `count` wrong keys; for how long it is paused.

        The pause begins when the free guesses are used up, and doubles with each further one.
        """
        group = address_group(address)
        if self._is_trusted(group, now_s):
            return 0.0
        record = self._guessers.pop(group, None)
        if record is None or now_s - record.last_s >= FORGOTTEN_S:
            record = _Record()
        self._guessers[group] = record
        _shorten(self._guessers)
        record.wrong += count
        record.last_s = now_s
        beyond = record.wrong - FREE_GUESSES
        pause_s = FIRST_PAUSE_S * 2 ** min(beyond - 1, 32) if beyond > 0 else 0.0
        record.until_s = now_s + min(LONGEST_PAUSE_S, pause_s)
        return record.until_s - now_s

    def right(self, address: str, now_s: float) -> None:
        """An address has shown the key: it is trusted for a day, and its guesses are forgotten."""
        group = address_group(address)
        self._guessers.pop(group, None)
        self._trusted.pop(group, None)
        self._trusted[group] = now_s
        _shorten(self._trusted)

    def _is_trusted(self, group: str, now_s: float) -> bool:
        then_s = self._trusted.get(group)
        return then_s is not None and now_s - then_s < TRUSTED_S


def _shorten(table: OrderedDict[str, _Record] | OrderedDict[str, float]) -> None:
    """Forget who came longest ago."""
    if len(table) > MOST_ADDRESSES:
        table.popitem(last=False)
