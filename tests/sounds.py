"""The same sound as files of many kinds, for the tests."""

import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import soundfile

from lanscribe.audio import Samples

RATE_HZ = 16_000


def by_libsndfile(samples: Samples, kind: str, rate_hz: int = RATE_HZ, **options: Any) -> bytes:
    """A file of `kind`, such as WAV, FLAC, OGG or MP3; samples of shape (n,) or (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, **options)
    return file.getvalue()


def by_ffmpeg(samples: Samples, kind: str, codec: str, rate_hz: int = RATE_HZ) -> bytes:
    """A file of `kind`, such as ipod (M4A) or webm, with sound in `codec` at `rate_hz`."""
    file = io.BytesIO()
    frame = av.AudioFrame.from_ndarray(
        np.rint(samples * 32_767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
    )
    frame.sample_rate = RATE_HZ
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        for one in (frame, None):
            container.mux(stream.encode(one))
    return file.getvalue()


def film(seconds: int = 1) -> bytes:
    """An MP4 of grey pictures without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        grey = np.full((32, 32, 3), 128, dtype=np.uint8)
        for _ in range(10 * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


KINDS: dict[str, Callable[[Samples], bytes]] = {
    "wav": lambda samples: by_libsndfile(samples, "WAV"),
    "flac": lambda samples: by_libsndfile(samples, "FLAC"),
    "ogg": lambda samples: by_libsndfile(samples, "OGG"),
    "mp3": lambda samples: by_libsndfile(samples, "MP3"),
    "m4a": lambda samples: by_ffmpeg(samples, "ipod", "aac"),
    "webm": lambda samples: by_ffmpeg(samples, "webm", "libopus", 48_000),
}
"""How a file of each kind is made, by the end of its name."""
