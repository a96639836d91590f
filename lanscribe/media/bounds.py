"""How long a recording may be: no longer than its bytes can hold, and a day at most."""

import numpy as np

from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.speech.audio import duration_s

SECONDS_PER_BYTE = 0.05
"""No codec takes fewer than 20 bytes for a second of sound. Speech takes 600 (AMR at 4.75 kbit/s)
and more, its pauses 25 (Opus with DTX, in packets of 120 ms) to 50 (AMR). Silence in AAC, Vorbis
and Opus takes 64 (AAC at 8 kHz) to 600, as measured."""
SILENCE_SHARE = 0.1
"""The share of digital silence that counts: a second of it takes 7 bytes in WavPack (8 kHz), 13
(4 kHz) to 150 (48 kHz) in FLAC, and next to no work."""
FREE_S = 60.0
"""Any file may be this long."""
LONGEST_S = 86_400.0
"""The longest recording, its missing parts included: a day."""


class Length:
    """The length of a recording so far, checked against what its bytes can hold."""

    def __init__(self) -> None:
        self._samples = self._zeros = self._size_bytes = 0
        self._skipped_s = 0.0

    @property
    def at_s(self) -> float:
        """How long the recording is so far, its missing parts included."""
        return duration_s(self._samples) + self._skipped_s

    def add(self, piece: Piece, size_bytes: int) -> None:
        """Add the next piece of a recording of which so many bytes were there."""
        if isinstance(piece, Missing):
            self._skipped_s += piece.skipped_s
        elif not isinstance(piece, About):
            self._samples += len(piece)
            self._zeros += len(piece) - int(np.count_nonzero(piece))
        self._size_bytes = size_bytes

    def excess(self, *, is_live: bool) -> str:
        """Why the recording is too long; "" if it is not. One that still runs has no longest."""
        counted_s = duration_s(self._samples) - (1 - SILENCE_SHARE) * duration_s(self._zeros)
        if counted_s > FREE_S + SECONDS_PER_BYTE * self._size_bytes:
            return f"no codec holds so much sound in {self._size_bytes} bytes: send it as WAV"
        if self.at_s > LONGEST_S and not is_live:
            return f"it is longer than {LONGEST_S / 3600:g} h: send a part at a time"
        return ""
