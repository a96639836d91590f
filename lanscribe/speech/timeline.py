"""Maps times in audio without its skipped parts to times in the whole audio.

The file client carries a copy: after a change run `.venv/bin/python -m clients.generate`.
"""

from bisect import bisect_right


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

    def placed(self, start_s: float | None, end_s: float) -> tuple[float | None, float]:
        """The times of a word in the whole, where it lies entirely before a cut or after it.

        start_s is None if the engine cannot tell. An engine's times are only approximate, so the
        middle of the word decides.
        """
        first_s = end_s if start_s is None else start_s
        part = bisect_right(self._cuts_s, (first_s + end_s) / 2)
        least_s = self._cuts_s[part - 1] if part else 0.0
        most_s = self._cuts_s[part] if part < len(self._cuts_s) else end_s
        first_s = min(max(first_s, least_s), most_s) + self._skipped_s[part]
        last_s = min(max(end_s, least_s), most_s) + self._skipped_s[part]
        return None if start_s is None else first_s, last_s
