"""Maps times in audio without its skipped parts to times in the whole audio."""

from bisect import bisect_right
from dataclasses import replace

from lanscribe.speech.transcript import Token


class Timeline:
    """Converts the times of an engine that heard only parts of the audio, joined together."""

    def __init__(self) -> None:
        self._cuts_s: list[float] = []
        self._skipped_s: list[float] = [0.0]

    def skip(self, at_s: float, length_s: float) -> None:
        """Note that length_s of audio was left out after at_s of heard audio."""
        self._cuts_s.append(at_s)
        self._skipped_s.append(self.skipped_s + length_s)

    @property
    def skipped_s(self) -> float:
        """How much audio was left out so far."""
        return self._skipped_s[-1]

    def whole_s(self, heard_s: float) -> float:
        """Convert a time in the heard audio to one in the whole."""
        return heard_s + self._skipped_s[bisect_right(self._cuts_s, heard_s)]

    def placed(self, token: Token) -> Token:
        """The token with times in the whole; a word lies entirely before a cut or after it.

        An engine's times are only approximate, so the middle of a word decides.
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
