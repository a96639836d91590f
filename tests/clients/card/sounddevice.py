"""A sound card that plays a file to the sample, at the speed of sound, in place of sounddevice.

For tests that count each word: a real card's clock and rounding would be in their counts. The
file, 16 kHz, one channel, is CARD_WAV of the environment; after its end there is silence.
"""

import os
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

BLOCK_S = 0.02
RATE_HZ = 16_000
DEVICE = {
    "index": 0,
    "name": "file",
    "max_input_channels": 1,
    "default_samplerate": float(RATE_HZ),
}


class PortAudioError(Exception):
    """Never raised here."""


default = SimpleNamespace(device=(0, 0))


def query_devices(_index: int | None = None, kind: str | None = None) -> Any:
    """The one device as sounddevice describes it, in a list if no kind is given."""
    return DEVICE if kind else [DEVICE]


class InputStream:
    """Calls back with blocks of the file, shape (n, 1)."""

    def __init__(self, *, callback: Callable[..., None], **_settings: object) -> None:
        self._callback = callback
        self._sound = soundfile.SoundFile(os.environ["CARD_WAV"])
        self.active = True

    def start(self) -> None:
        """Play from now on."""
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def close(self, **_settings: object) -> None:
        """Call back no more."""
        self.active = False
        self._thread.join()

    def _play(self) -> None:
        began, count = time.monotonic(), round(BLOCK_S * RATE_HZ)
        played = 0
        while self.active:
            block = self._sound.read(count, dtype="float32", fill_value=0.0)
            block = np.concatenate([block, np.zeros(count - len(block), dtype=np.float32)])
            self._callback(block[:, None], count, None, SimpleNamespace(input_overflow=False))
            played += count
            time.sleep(max(0.0, began + played / RATE_HZ - time.monotonic()))
