"""Limits how often an address may guess the key: decisions with the time as an argument."""

from collections import OrderedDict
from dataclasses import dataclass

from lanscribe.server.access import address_group

FREE_GUESSES = 5
"""A mistyped key, or an old one in an app that tries again, is not an attack."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""This allows an address a few hundred guesses a day; the shortest key takes 10^17 of them."""
FORGOTTEN_S = 86_400.0
"""After a day without a guess, the count starts again."""
TRUSTED_S = 86_400.0
MOST_ADDRESSES = 4096
"""The size of each of the three tables: half a megabyte."""
_MOST_LOOKED_AT = 64


@dataclass(slots=True)
class _Record:
    wrong: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Guesses:
    """Counts wrong keys and remembers trust, by IPv4 address or IPv6 /64.

    Keys that a web page of another site may have sent (is_by_page) are counted apart: they pause
    keys like themselves alone. All other wrong keys pause every key of the address.
    """

    def __init__(self) -> None:
        self._guessers: OrderedDict[str, _Record] = OrderedDict()
        self._pages: OrderedDict[str, _Record] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers) + len(self._pages) + len(self._trusted)

    def pause_s(self, address: str, now_s: float, *, is_by_page: bool = False) -> float:
        """For how many seconds the keys of an address are ignored; 0 when they are compared."""
        group = address_group(address)
        if self._is_trusted(group, now_s):
            return 0.0
        tables = [self._guessers, self._pages] if is_by_page else [self._guessers]
        until_s = [one[group].until_s for one in tables if group in one]
        return max([0.0, *(end_s - now_s for end_s in until_s)])

    def wrong(self, address: str, count: int, now_s: float, *, is_by_page: bool = False) -> float:
        """Count `count` wrong keys of an address; return for how many seconds it is paused.

        The pause begins after the free guesses and doubles with each further one, up to
        LONGEST_PAUSE_S.
        """
        group = address_group(address)
        if self._is_trusted(group, now_s):
            return 0.0
        table = self._pages if is_by_page else self._guessers
        record = table.pop(group, None)
        if record is None or now_s - record.last_s >= FORGOTTEN_S:
            record = _Record()
        if len(table) >= MOST_ADDRESSES:
            _forget_one(table, now_s)
        table[group] = record
        record.wrong += count
        record.last_s = now_s
        beyond = record.wrong - FREE_GUESSES
        pause_s = FIRST_PAUSE_S * 2 ** min(beyond - 1, 32) if beyond > 0 else 0.0
        record.until_s = now_s + min(LONGEST_PAUSE_S, pause_s)
        return record.until_s - now_s

    def right(self, address: str, now_s: float) -> None:
        """Note the right key of an address: trust it for a day, and forget its guesses."""
        group = address_group(address)
        self._guessers.pop(group, None)
        self._pages.pop(group, None)
        self._trusted.pop(group, None)
        self._trusted[group] = now_s
        if len(self._trusted) > MOST_ADDRESSES:
            self._trusted.popitem(last=False)

    def _is_trusted(self, group: str, now_s: float) -> bool:
        then_s = self._trusted.get(group)
        return then_s is not None and now_s - then_s < TRUSTED_S


def _forget_one(guessers: OrderedDict[str, _Record], now_s: float) -> None:
    """Forget the oldest guesser whose pause is over; so a crowd does not end anybody's pause.

    Those in a pause go to the end. If all that are looked at are in one, the next is forgotten.
    """
    for _ in range(_MOST_LOOKED_AT):
        group, record = next(iter(guessers.items()))
        if record.until_s <= now_s:
            break
        guessers.move_to_end(group)
    guessers.popitem(last=False)
