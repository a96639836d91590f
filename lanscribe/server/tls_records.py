"""Finds where the records of TLS end: their heads are not encrypted (RFC 8446, section 5.1)."""

_HEAD_BYTES = 5
_LENGTH = slice(3, 5)


class Records:
    """The place in one direction of a TLS connection, over all pieces in which it arrives."""

    def __init__(self) -> None:
        self._head = b""
        self._body_bytes = 0
        """How much of the current record's body is still to come."""

    def advance(self, data: bytes | memoryview, most: int) -> int:
        """Pass over `data` up to the end of the record number `most`; return the bytes passed."""
        at = ended = 0
        while at < len(data) and ended < most:
            begin = at
            if self._body_bytes:
                at = min(at + self._body_bytes, len(data))
                self._body_bytes -= at - begin
            else:
                at = min(at + _HEAD_BYTES - len(self._head), len(data))
                self._head += bytes(data[begin:at])
                if len(self._head) < _HEAD_BYTES:
                    break
                self._body_bytes = int.from_bytes(self._head[_LENGTH], "big")
                self._head = b""
            ended += not self._body_bytes
        return at
