"""Spans of audio that were passed over and not transcribed: few, in order, without overlap."""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_SPANS = 100
"""The most spans kept for one utterance or file; a list of them is a few kilobytes."""
_TOUCH_S = 0.05
"""Two spans with less than this between them are joined: no word fits in the gap."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of audio, in seconds."""

    start_s: float
    end_s: float

    def later(self, by_s: float) -> "Span":
        """The span, moved later by by_s."""
        return Span(self.start_s + by_s, self.end_s + by_s)

    @property
    def rounded(self) -> tuple[float, float]:
        """Both times, rounded to a millisecond."""
        return round(self.start_s, 3), round(self.end_s, 3)


class Spans:
    """A growing set of spans. It always covers every span that was added.

    Beyond MAX_SPANS the two closest spans become one, including the gap between them.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def add(self, span: Span) -> None:
        """Add a span, joined to those that it touches; an empty span is ignored."""
        if span.end_s <= span.start_s:
            return
        before = [one for one in self._spans if one.end_s + _TOUCH_S < span.start_s]
        after = [one for one in self._spans if one.start_s - _TOUCH_S > span.end_s]
        touched = self._spans[len(before) : len(self._spans) - len(after)]
        start_s = min(span.start_s, *(one.start_s for one in touched), span.start_s)
        end_s = max(span.end_s, *(one.end_s for one in touched), span.end_s)
        self._spans = [*before, Span(start_s, end_s), *after]
        if len(self._spans) > MAX_SPANS:
            self._join_the_closest()

    def _join_the_closest(self) -> None:
        spans = self._spans
        gaps_s = [spans[at + 1].start_s - spans[at].end_s for at in range(len(spans) - 1)]
        at = gaps_s.index(min(gaps_s))
        spans[at : at + 2] = [Span(spans[at].start_s, spans[at + 1].end_s)]
