"""Converts PCM streams of any encoding and rate that a protocol allows to 16 kHz samples.

Pure arithmetic.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lanscribe.speech.audio import PIECE_S, Samples, clipped
from lanscribe.speech.resampler import Resampler

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 192_000
_BIAS = 33
"""The bias that G.711's mu-law adds to a 14-bit magnitude before it takes the logarithm."""


class _Encoding(NamedTuple):
    sample_bytes: int
    decode: Callable[[bytes], Samples]


def decoded(data: bytes, encoding: str) -> Samples:
    """Decode little-endian PCM of one of ENCODINGS, to shape (n,) in [-1, 1).

    Raises ValueError if `data` is not whole samples, or some are not numbers.
    """
    return ENCODINGS[encoding].decode(data)


class WholeFrames:
    """Makes whole frames of a stream of bytes that may be cut anywhere.

    frame_bytes: the size of a frame, one sample of each channel.
    """

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._rest = self._rest_before = b""

    def take(self, data: bytes) -> bytes:
        """The whole frames up to the end of `data`; what is left comes before the next bytes."""
        self._rest_before = self._rest
        if self._rest:
            data = self._rest + data
        rest_bytes = len(data) % self._frame_bytes
        whole_bytes = len(data) - rest_bytes
        self._rest = data[whole_bytes:]
        return data[:whole_bytes] if rest_bytes else data

    def undo(self) -> None:
        """Forget the bytes that were taken last: they come again."""
        self._rest = self._rest_before

    def drop(self) -> None:
        """Forget what is left: the stream has ended, and what is taken next is a new one."""
        self._rest = b""


def bounded(samples: Samples) -> Samples:
    """Clip samples of any source, shape (n,), to [-1, 1).

    Raises ValueError if some are infinite or not numbers.
    """
    if not np.isfinite(samples).all():
        raise ValueError("got samples that are infinite or not numbers")
    return clipped(samples)


class PcmDecoder:
    """One stream of sound, mono, little-endian: bytes in, samples at 16 kHz out.

    The bytes may be cut anywhere, in the middle of a sample too.
    Raises ValueError when the encoding is not one of ENCODINGS or the rate is out of range.
    """

    def __init__(self, encoding: str, rate_hz: int) -> None:
        if encoding not in ENCODINGS:
            raise unknown_encoding(encoding, ENCODINGS)
        self._encoding = encoding
        self._rate_hz = rate_hz
        self._whole = WholeFrames(ENCODINGS[encoding].sample_bytes)
        self._resampler = Resampler(checked_rate_hz(rate_hz))

    def feed(self, data: bytes) -> Samples:
        """Decode the next bytes, to shape (n,); `Resampler.feed` may hold some of them back.

        Raises ValueError when samples among them are not numbers; all of them are dropped then.
        """
        return self._decoded(self._whole.take(data))

    def undo(self) -> None:
        """Forget the bytes that were fed last: they come again. For a rate of 16 kHz."""
        self._whole.undo()

    def pieces(self, data: bytes) -> Iterator[Samples]:
        """Decode like `feed`, in pieces of PIECE_S at most, each one on demand.

        For encodings of whole numbers, none of which are refused.
        """
        data = self._whole.take(data)
        step = round(PIECE_S * self._rate_hz) * ENCODINGS[self._encoding].sample_bytes
        return (self._decoded(data[at : at + step]) for at in range(0, len(data), step))

    def flush(self) -> Samples:
        """The samples that are still to come, shape (n,); what is fed next is a new stream.

        A part of a sample at the end is dropped.
        """
        self._whole.drop()
        return self._resampler.flush()

    def _decoded(self, data: bytes) -> Samples:
        return self._resampler.feed(decoded(data, self._encoding))


def checked_rate_hz(rate_hz: int) -> int:
    """The rate of a stream. Raises ValueError when it is out of range."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ValueError(
            f"got a sample rate of {rate_hz:.6g} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    return rate_hz


def unknown_encoding(encoding: str, allowed: Iterable[str]) -> ValueError:
    """The error for an encoding that is not allowed."""
    return ValueError(f"got the encoding {encoding[:100]!r}; expected one of {', '.join(allowed)}")


def _integers(data: bytes, kind: str) -> Samples:
    samples = np.frombuffer(data, dtype=kind)
    return samples.astype(np.float32) / np.float32(2 ** (8 * samples.itemsize - 1))


def _unsigned_bytes(data: bytes) -> Samples:
    return (np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128) / np.float32(2**7)


def _three_bytes(data: bytes) -> Samples:
    padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    return _integers(padded.tobytes(), "<i4")


def _floats(data: bytes, kind: str) -> Samples:
    return bounded(np.frombuffer(data, dtype=kind).astype(np.float32))


def _mulaw(data: bytes) -> Samples:
    """ITU-T G.711, table 2."""
    code = ~np.frombuffer(data, dtype=np.uint8)
    segment, step = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = ((2 * step + _BIAS) << segment) - _BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) / 8192).astype(np.float32)


def _alaw(data: bytes) -> Samples:
    """ITU-T G.711, table 1."""
    code = np.frombuffer(data, dtype=np.uint8) ^ 0x55
    segment, step = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = np.where(segment, (2 * step + 33) << np.maximum(segment, 1) - 1, 2 * step + 1)
    return (np.where(code & 0x80, magnitude, -magnitude) / 4096).astype(np.float32)


ENCODINGS: Mapping[str, _Encoding] = {
    "pcm_u8": _Encoding(1, _unsigned_bytes),
    "pcm_s16le": _Encoding(2, lambda data: _integers(data, "<i2")),
    "pcm_s24le": _Encoding(3, _three_bytes),
    "pcm_s32le": _Encoding(4, lambda data: clipped(_integers(data, "<i4"))),
    "pcm_f16le": _Encoding(2, lambda data: _floats(data, "<f2")),
    "pcm_f32le": _Encoding(4, lambda data: _floats(data, "<f4")),
    "pcm_mulaw": _Encoding(1, _mulaw),
    "pcm_alaw": _Encoding(1, _alaw),
}
"""The encodings that can be decoded; those of whole numbers take any whole frames.
The largest 32-bit number would be rounded to 1."""
