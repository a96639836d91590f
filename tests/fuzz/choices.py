"""Messages made of bytes: what a fuzzer changes in the bytes changes in the messages."""

import base64
import copy
import json
from typing import Any

from lanscribe.dialects.events import Message

_VALUES: list[Any] = [
    None, True, False, 0, 1, 7, -1, 2**70, 1.5, 1e300, 24_000, "", "m", "AQD+/wMA", "AQ==",
    "server_vad",
    "audio/pcmu", "audio/pcm", "g711_alaw", "pcm_f16le", "pcm_mulaw", "\ud800",
    "x" * 300, [], ["m"],
    [[[]]], {}, {"type": "m"}, {"rate": 8000},
]  # fmt: skip
_NO_JSON = [
    "",
    "{",
    "[" * 3000,
    "nul",
    '"',
    '{"type":}',
    "\ufeff{}",
    '{"type":"ping"}x',
    "NaN",
    "-",
]


class Choices:
    """Bytes as a row of decisions; when they are used up, every decision is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    @property
    def is_used_up(self) -> bool:
        return self._next >= len(self._data)

    def number(self, below: int) -> int:
        """A number from 0 up to `below`."""
        if below > 256:
            return (self.number(256) * 256 + self.number(256)) % below
        value = 0 if self.is_used_up else self._data[self._next]
        self._next += 1
        return value % below

    def one_of(self, values: Any) -> Any:
        return values[self.number(len(values))]

    def bytes(self) -> bytes:
        """Up to 255 bytes as they are."""
        size = self.number(256)
        taken = self._data[self._next : self._next + size]
        self._next += size
        return taken

    def message(self, examples: list[dict[str, Any]]) -> Message:
        """A frame: mostly one of the examples with a few changes."""
        match self.number(16):
            case 0:
                return self.bytes()
            case 1:
                return self.bytes().decode(errors="replace")
            case 2:
                return str(self.one_of(_NO_JSON))
            case _:
                return self._changed(copy.deepcopy(self.one_of(examples)))

    def _changed(self, content: dict[str, Any]) -> str:
        if "audio" in content and self.number(2):
            content["audio"] = base64.b64encode(self.bytes()).decode()
        for _ in range(self.number(3)):
            self._change(content)
        return json.dumps(content)

    def _change(self, content: dict[str, Any]) -> None:
        """Put a value in the place of another, add a field, or take one away."""
        inner = content
        while self.number(2) and (
            deeper := [one for one in inner.values() if isinstance(one, dict)]
        ):
            inner = self.one_of(deeper)
        field = self.one_of([*inner, "extra"])
        match self.number(4):
            case 0:
                inner.pop(field, None)
            case 1:
                inner[field] = self.bytes().decode("latin-1")
            case _:
                inner[field] = copy.deepcopy(self.one_of(_VALUES))
