"""Writes JSON that can return any text that a client's JSON can contain.

JSON can escape half of a surrogate pair (RFC 8259, section 8.2). That is not Unicode text: UTF-8
has no bytes for it. An identifier that holds one comes back as it came, escaped again.
"""

import json
import re
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def to_json(value: Any) -> str:
    """The value as JSON in one line, which UTF-8 can encode.

    Raises ValueError for numbers that JSON lacks: infinite ones, and NaN.
    """
    text = _ENCODER.encode(value)
    return _HALF_A_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
