"""What a recording lacks, and which of its tracks was heard, as fields of JSON.

The file client carries a copy: after a change run `.venv/bin/python -m clients.generate`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lanscribe.media.pieces import About, Missing

MAX_PARTS = 100
"""The most parts that are told one by one; one more covers all the others."""


class MissingParts:
    """The parts of a recording that cannot be heard: few, and they cover all of them."""

    def __init__(self) -> None:
        self._parts: list[Missing] = []
        self._others: Missing | None = None
        self._due: deque[Missing] = deque()

    def __iter__(self) -> Iterator[Missing]:
        yield from self._parts
        if self._others is not None:
            yield self._others

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, part: Missing) -> None:
        """Add the next part."""
        if len(self._parts) < MAX_PARTS:
            self._parts.append(part)
            self._due.append(part)
        elif self._others is None:
            self._others = part
        else:
            self._others = joined(self._others, part)

    def due(self, before_s: float) -> Iterator[Missing]:
        """Each part that begins before before_s, once."""
        while self._due and self._due[0].start_s < before_s:
            yield self._due.popleft()

    def rest(self) -> Iterator[Missing]:
        """All parts that were not due."""
        yield from self._due
        self._due.clear()
        if self._others is not None:
            yield self._others


def joined(one: Missing, other: Missing) -> Missing:
    """A part that covers two, with the reason of the later one."""
    is_known = one.end_s is not None and other.end_s is not None
    end_s = max(one.end_s or 0.0, other.end_s or 0.0) if is_known else None
    skipped_s = one.skipped_s + other.skipped_s
    return replace(other, start_s=one.start_s, end_s=end_s, skipped_s=skipped_s)


def missing_field(parts: MissingParts) -> dict[str, Any]:
    """All parts; empty if nothing is missing."""
    return {"missing": [part_fields(part) for part in parts]} if parts else {}


def part_fields(part: Missing) -> dict[str, Any]:
    """One part."""
    end = None if part.end_s is None else round(part.end_s, 3)
    return {"start": round(part.start_s, 3), "end": end, "code": part.code, "why": part.why}


def track_field(about: About) -> dict[str, Any]:
    """The track that was heard; empty if there is only one."""
    return {} if about.count < 2 else {"track": track_fields(about)}


def track_fields(about: About) -> dict[str, Any]:
    """A track."""
    return {
        "number": about.number,
        "count": about.count,
        "language": about.language,
        "title": about.title,
        "why": about.why,
    }
