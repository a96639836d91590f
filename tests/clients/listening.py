"""Reads a recording as the file client does."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clients.audio_source import AudioSource

Int16 = npt.NDArray[np.int16]


async def sent(recording: AudioSource, start: int = 0, chunk_s: float = 0.5) -> Int16:
    """What is sent of a recording from a sample on, to its end."""
    chunks, at = list[bytes](), start
    while chunk := await recording.chunk(at, chunk_s):
        chunks.append(chunk)
        at += len(chunk) // 2
    return np.array(np.frombuffer(b"".join(chunks), dtype="<i2"), dtype=np.int16)


def heard(
    path: Path, track: str = "", *, then: Callable[[AudioSource], None] | None = None
) -> Int16:
    """What is sent of a file; then: what else to look at in the recording."""

    async def listen() -> Int16:
        with closing(AudioSource(str(path), track)) as recording:
            sound = await sent(recording)
            if then:
                then(recording)
            return sound

    return asyncio.run(listen())
