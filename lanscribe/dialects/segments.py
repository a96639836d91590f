"""Segments with times in vLLM's protocol, for clients that ask for them (vllm-project/vllm 50783).

A segment is `{"text", "end"}`: a word with the space before it, and the second at which it ended.
A delta carries those that are complete, so the last comes with `transcription.done`, which has all.
"""

from collections.abc import Sequence
from typing import Any

from lanscribe.dialects import fields
from lanscribe.dialects.events import Delta, Done
from lanscribe.errors import ProtocolError
from lanscribe.speech.captions import Word, add_word

_NAMES = ("timestamp_granularities", "timestamp_granularities[]")
"""vLLM takes both spellings; the second is that of its REST interface."""
_GRANULARITIES = ("segment", "word")
"""vLLM refuses "word", because it cannot tell the words apart; here every `done` has them."""


def wished(event: fields.Fields) -> tuple[str, ...] | None:
    """The granularities that a session.update asks for; None without the field.

    Raises ProtocolError.
    """
    name = next((name for name in _NAMES if event.get(name) is not None), None)
    if name is None:
        return None
    value = event[name]
    if not isinstance(value, list) or any(one not in _GRANULARITIES for one in value):
        got = repr(value)[:200] if isinstance(value, list) else fields.kind(value)
        raise ProtocolError(
            "invalid_timestamp_granularity",
            f'got {got} as {name!r}; expected ["segment"], ["word"], both or []',
        )
    return tuple(one for one in _GRANULARITIES if one in value)


class Segments:
    """The segments of one utterance after the other."""

    def __init__(self) -> None:
        self._open: list[Word] = []

    def of_delta(self, delta: Delta) -> list[dict[str, Any]]:
        """The segments that this delta completes."""
        if delta.text:
            add_word(self._open, delta.text, delta.start_s, delta.end_s)
        complete, self._open = self._open[:-1], self._open[-1:]
        return [_segment(word.text, word.end_s) for word in complete]

    def of_done(self, done: Done) -> list[dict[str, Any]]:
        """All segments of the utterance; joined, they are its text."""
        self._open = []
        return _all_segments(done.text, done.listed_words)


def _all_segments(text: str, words: Sequence[Word]) -> list[dict[str, Any]]:
    """The text in pieces, each up to the end of one of its bare words."""
    segments, at = [], 0
    for number, word in enumerate(words, 1):
        end = len(text) if number == len(words) else text.index(word.text, at) + len(word.text)
        segments.append(_segment(text[at:end], word.end_s))
        at = end
    return segments


def _segment(text: str, end_s: float) -> dict[str, Any]:
    return {"text": text, "end": round(end_s, 3)}
