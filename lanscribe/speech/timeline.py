"""Where audio, parts of which were left out, is in the whole of it."""

from bisect import bisect_right
from dataclasses import replace

from lanscribe.speech.transcript import Token


class Timeline:
    """Places the times of an engine, which heard the parts as one, in the whole."""

    def __init__(self) -> None:
        self._cuts_s: list[float] = []
        self._skipped_s: list[float] = [0.0]

    def skip(self, at_s: float, length_s: float) -> None:
        """Between what was heard up to at_s and what follows lies so much more."""
        self._cuts_s.append(at_s)
        self._skipped_s.append(self.skipped_s + length_s)

    @property
    def skipped_s(self) -> float:
        """How much was left out so far."""
        return self._skipped_s[-1]

    def whole_s(self, heard_s: float) -> float:
        """A time of what was heard, in the whole."""
        return heard_s + self._skipped_s[bisect_right(self._cuts_s, heard_s)]

    def placed(self, token: Token) -> Token:
        """The token in the whole; a word is all before a cut or all behind it, whole in one part.

        An engine knows its times only about, so that the middle of a word decides.
        """
        if token.is_lost or not token.text or not self._cuts_s:
            start_s = None if token.start_s is None else self.whole_s(token.start_s)
            return replace(token, start_s=start_s, end_s=self.whole_s(token.end_s))
        start_s = token.end_s if token.start_s is None else token.start_s
        part = bisect_right(self._cuts_s, (start_s + token.end_s) / 2)
        least_s = self._cuts_s[part - 1] if part else 0.0
        most_s = self._cuts_s[part] if part < len(self._cuts_s) else token.end_s
        within = replace(
            token,
            start_s=None if token.start_s is None else min(max(start_s, least_s), most_s),
            end_s=min(max(token.end_s, least_s), most_s),
        )
        return within.later(self._skipped_s[part])
