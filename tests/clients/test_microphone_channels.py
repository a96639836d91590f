"""What the microphone client hears of a device with several channels."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import stream_microphone as client

RATE_HZ = 48_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)
FAINT = 0.002 * np.random.default_rng(1).standard_normal(len(TONE))
STATUS = SimpleNamespace(input_overflow=False)


class Card:
    """In place of the module sounddevice: a device that has all its channels or none."""

    class PortAudioError(Exception):
        """It has no stream of one channel."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self.callback: Callable[..., None] | None = None

    def query_devices(self, _index: int | None, _kind: str) -> dict[str, Any]:
        return {
            "name": "array",
            "default_samplerate": float(RATE_HZ),
            "max_input_channels": self._channels,
        }

    def InputStream(  # noqa: N802 - as sounddevice names it
        self, *, channels: int, callback: Callable[..., None], **_settings: object
    ) -> SimpleNamespace:
        if channels != self._channels:
            raise self.PortAudioError
        self.callback = callback
        return SimpleNamespace(start=lambda: None, close=lambda **_: None, active=True)


@pytest.mark.parametrize(
    "channels",
    [
        [TONE],
        [TONE, TONE],
        [TONE, -TONE],
        [TONE, 0 * TONE],
        [FAINT, TONE, *[FAINT] * 6],
    ],
    ids=["mono", "stereo", "opposite", "one side", "one of eight"],
)
def test_a_voice_in_any_channels_keeps_its_level(
    monkeypatch: pytest.MonkeyPatch, channels: list[Any]
) -> None:
    card = Card(len(channels))
    monkeypatch.setattr(client, "sounddevice", lambda: card)
    microphone = client.Microphone(None)
    assert card.callback
    heard = []
    for block in np.array_split(np.array(channels, dtype=np.float32).T, 200):
        card.callback(block, len(block), None, STATUS)
        heard.append(microphone.take())
    heard.append(microphone.take(is_last=True))
    samples = np.concatenate(heard)
    assert len(samples) == pytest.approx(32_000, abs=1)
    middle = samples[8_000:24_000]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert np.std(middle) * np.sqrt(2) == pytest.approx(0.3, rel=0.1)
