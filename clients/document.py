"""The transcript as a file: text, JSON or captions."""

import json
from collections.abc import Mapping, Sequence

from lanscribe.speech.captions import FILE_HEADS, Word, caption_file, in_line, verbose

FORMATS = ("txt", "json", *FILE_HEADS)


def document(
    words: Sequence[Word], kind: str, duration_s: float, more: Mapping[str, object] | None = None
) -> str:
    """The text of a file in one of FORMATS; more: further fields of JSON."""
    words = words if in_line(words) else []
    if kind == "txt":
        return f"{in_line(words)}\n"
    if kind == "json":
        return f"{json.dumps(verbose(words, duration_s) | dict(more or {}))}\n"
    return caption_file(words, kind)
