"""Finds the whole frames of an AAC stream (ADTS, ISO/IEC 13818-7, 6.2), and what is between them.

FFmpeg looks for the next frame after a damaged one, and does not say how much it left out.
"""

_ADTS_HEADER_BYTES = 7
_MAX_FRAME_BYTES = 2**13


def _frame_bytes(data: bytes, at: int) -> int:
    """The length of the frame at a place by its header; 0 if there is no header."""
    head = data[at : at + _ADTS_HEADER_BYTES]
    if len(head) < _ADTS_HEADER_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= _ADTS_HEADER_BYTES else 0


def _is_frame(data: bytes, at: int, length: int) -> bool:
    """Whether a frame of this length is at a place: the next one, or the end, follows it."""
    end = at + length
    return bool(length) and (end == len(data) or _frame_bytes(data, end) > 0)


class AdtsFilter:
    """Keeps the whole frames of a stream, and notes the place of what it leaves out."""

    def __init__(self) -> None:
        self.gaps: list[tuple[int, int]] = []
        """After how many bytes that were kept others were left out, and how many."""
        self._kept_bytes = 0
        self._rest = b""

    def feed(self, data: bytes, *, is_last: bool) -> bytes:
        """Take the next bytes; returns those of whole frames."""
        data, at, frames = self._rest + data, 0, list[bytes]()
        while at < len(data):
            length = _frame_bytes(data, at)
            needed = length + _ADTS_HEADER_BYTES if length else _ADTS_HEADER_BYTES
            if at + needed > len(data) and not is_last:
                break
            if _is_frame(data, at, length):
                frames.append(data[at : at + length])
                self._kept_bytes += length
            else:
                length = self._left_out(data, at, 0 if is_last else _MAX_FRAME_BYTES)
                if not length:
                    break
            at += length
        self._rest = data[at:]
        return b"".join(frames)

    def _left_out(self, data: bytes, at: int, unsure: int) -> int:
        """Note what is no frame, up to the next one; returns its length, 0 if that is not known.

        unsure: how many bytes at the end may be the beginning of one.
        """
        end = max(at, len(data) - unsure)
        begin = data.find(b"\xff", at + 1, end)
        while begin >= 0 and not _is_frame(data, begin, _frame_bytes(data, begin)):
            begin = data.find(b"\xff", begin + 1, end)
        count = (begin if begin >= 0 else end) - at
        if count:
            self.gaps.append((self._kept_bytes, count))
        return count
