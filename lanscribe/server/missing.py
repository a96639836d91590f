"""What a recording lacks, and which of its tracks was heard, as events and as headers."""

from typing import Any
from urllib.parse import quote

from lanscribe.media.missing import MissingParts, part_fields, track_fields
from lanscribe.media.pieces import About, Missing

MISSING_HEADER = "Lanscribe-Missing"
TRACK_HEADER = "Lanscribe-Track"
_MAX_HEADER_TEXT = 100


def missing_event(part: Missing) -> dict[str, Any]:
    """The event of a stream that tells of one part."""
    return {"type": "transcript.missing", **part_fields(part), **without_text()}


def missing_header(parts: MissingParts) -> dict[str, str]:
    """The header, such as `5.500-11.000 cut_off, 12.000- damaged`; none if nothing is missing."""
    return {MISSING_HEADER: ", ".join(map(_span, parts))} if parts else {}


def track_event(about: About) -> dict[str, Any]:
    """The event of a stream that tells which track is heard."""
    return {"type": "transcript.track", **track_fields(about), **without_text()}


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


def without_text() -> dict[str, Any]:
    """What vLLM's clients read of every event: no text."""
    return {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}


def _span(part: Missing) -> str:
    end = "" if part.end_s is None else f"{part.end_s:.3f}"
    return f"{part.start_s:.3f}-{end} {part.code}"
