"""What the framework clients say: a recording in small pieces, faster than a person."""

import asyncio
import wave
from collections.abc import AsyncIterator

RATE_HZ = 16_000
PIECE_SAMPLES = 320
"""20 ms, as the frameworks send."""
SPEED = 4
AFTER_S = 2
"""Silence after the speech, in which every detector hears the end of the last turn."""
DEADLINE_S = 50


async def pieces(path: str) -> AsyncIterator[bytes]:
    """16-bit PCM of a file at 16 kHz, then silence, paced."""
    with wave.open(path) as clip:
        pcm = clip.readframes(clip.getnframes())
    pcm += bytes(2 * RATE_HZ * AFTER_S)
    for start in range(0, len(pcm), 2 * PIECE_SAMPLES):
        yield pcm[start : start + 2 * PIECE_SAMPLES].ljust(2 * PIECE_SAMPLES, b"\0")
        await asyncio.sleep(PIECE_SAMPLES / RATE_HZ / SPEED)
