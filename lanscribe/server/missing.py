"""What a recording lacks, and which of its tracks was heard: as fields, as events, as headers."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from lanscribe.media.pieces import About, Missing

MISSING_HEADER = "Lanscribe-Missing"
TRACK_HEADER = "Lanscribe-Track"
MAX_PARTS = 100
"""The most parts that are told one by one; one more covers all the others."""
_MAX_HEADER_TEXT = 100


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
            self._others = _joined(self._others, part)

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


def _joined(one: Missing, other: Missing) -> Missing:
    """A part that covers two, with the reason of the later one."""
    is_known = one.end_s is not None and other.end_s is not None
    end_s = max(one.end_s or 0.0, other.end_s or 0.0) if is_known else None
    return replace(other, start_s=one.start_s, end_s=end_s)


def missing_field(parts: MissingParts) -> dict[str, Any]:
    """All parts; empty if nothing is missing."""
    return {"missing": [_fields(part) for part in parts]} if parts else {}


def missing_event(part: Missing) -> dict[str, Any]:
    """The event of a stream that tells of one part."""
    return {"type": "transcript.missing", **_fields(part)}


def missing_header(parts: MissingParts) -> dict[str, str]:
    """The header, such as `5.500-11.000 cut_off, 12.000- damaged`; none if nothing is missing."""
    return {MISSING_HEADER: ", ".join(map(_span, parts))} if parts else {}


def track_field(about: About) -> dict[str, Any]:
    """The track that was heard; empty if there is only one."""
    return {} if about.count < 2 else {"track": _track(about)}


def track_event(about: About) -> dict[str, Any]:
    """The event of a stream that tells which track is heard."""
    return {"type": "transcript.track", **_track(about)}


def track_header(about: About) -> dict[str, str]:
    """The header, such as `2; count=3; language=de; title=Caf%C3%A9`; none if there is only one."""
    if about.count < 2:
        return {}
    texts = {"language": about.language, "title": about.title, "why": about.why}
    told = [f"{about.number}; count={about.count}"]
    for name, text in texts.items():
        if text:
            told.append(f"{name}={quote(text[:_MAX_HEADER_TEXT], errors='replace')}")
    return {TRACK_HEADER: "; ".join(told)}


def _fields(part: Missing) -> dict[str, Any]:
    end = None if part.end_s is None else round(part.end_s, 3)
    return {"start": round(part.start_s, 3), "end": end, "code": part.code, "why": part.why}


def _span(part: Missing) -> str:
    end = "" if part.end_s is None else f"{part.end_s:.3f}"
    return f"{part.start_s:.3f}-{end} {part.code}"


def _track(about: About) -> dict[str, Any]:
    return {
        "number": about.number,
        "count": about.count,
        "language": about.language,
        "title": about.title,
        "why": about.why,
    }
