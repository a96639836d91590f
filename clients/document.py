"""The transcript as a file: text, JSON or captions."""

import json
from collections.abc import Sequence

from lanscribe.speech.captions import FILE_HEADS, Word, caption_file, in_line, verbose

FORMATS = ("txt", "json", *FILE_HEADS)


def document(words: Sequence[Word], kind: str, duration_s: float) -> str:
    """The text of a file in one of FORMATS."""
    words = words if in_line(words) else []
    if kind == "txt":
        return f"{in_line(words)}\n"
    if kind == "json":
        return f"{json.dumps(verbose(words, duration_s))}\n"
    return caption_file(words, kind)
