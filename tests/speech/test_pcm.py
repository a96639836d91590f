"""Every encoding against a reference: numpy's arithmetic, libsndfile's G.711, libsoxr at once."""

import io
import math
import random

import numpy as np
import pytest
import soundfile
import soxr  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.speech.audio import PIECE_S, Samples
from lanscribe.speech.pcm import (
    ENCODINGS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    PcmDecoder,
    WholeFrames,
    bounded,
)
from lanscribe.speech.resampler import Resampler

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)).astype(np.float32)


def as_s16(samples: Samples) -> bytes:
    return np.rint(samples * 32_767).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("encoding", "data", "samples"),
    [
        ("pcm_u8", np.array([0, 128, 192], "u1"), [-1, 0, 0.5]),
        ("pcm_s24le", np.frombuffer(b"\0\0\x80\0\0\0\0\0\x40", "u1"), [-1, 0, 0.5]),
        ("pcm_s16le", np.array([-32768, 0, 16384], "<i2"), [-1, 0, 0.5]),
        ("pcm_s16le", np.array([-32768, -1, 0, 32767], "<i2"), [-1, -1 / 32768, 0, 32767 / 32768]),
        ("pcm_s32le", np.array([-(2**31), 0, 2**30], "<i4"), [-1, 0, 0.5]),
        ("pcm_f16le", np.array([-1.5, -0.25, 0.5], "<f2"), [-1, -0.25, 0.5]),
        ("pcm_f32le", np.array([-7, -0.25, 0.125], "<f4"), [-1, -0.25, 0.125]),
    ],
)
def test_linear_encodings(encoding: str, data: Samples, samples: list[float]) -> None:
    decoded = PcmDecoder(encoding, 16_000).feed(data.tobytes())
    assert decoded.dtype == np.float32
    assert decoded.tolist() == np.array(samples, dtype=np.float32).tolist()


@pytest.mark.parametrize(
    ("encoding", "loud"),
    [
        ("pcm_s32le", np.array([2**31 - 1], "<i4")),
        ("pcm_f16le", np.array([8], "<f2")),
        ("pcm_f32le", np.array([1], "<f4")),
    ],
)
def test_samples_stay_below_one(encoding: str, loud: Samples) -> None:
    assert 0.999 < PcmDecoder(encoding, 16_000).feed(loud.tobytes())[0] < 1


@pytest.mark.parametrize(("encoding", "subtype"), [("pcm_mulaw", "ULAW"), ("pcm_alaw", "ALAW")])
def test_every_code_of_g711(encoding: str, subtype: str) -> None:
    codes = bytes(range(256))
    raw = io.BytesIO(codes)
    reference, _ = soundfile.read(
        raw, format="RAW", subtype=subtype, samplerate=16_000, channels=1, dtype="float32"
    )
    assert PcmDecoder(encoding, 16_000).feed(codes).tolist() == reference.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=20), st.sampled_from([8, 24, 44.1, 48]))
def test_chunks_of_any_size_make_the_sound_that_one_makes(sizes: list[int], khz: float) -> None:
    rate_hz = round(1000 * khz)
    whole = as_s16(TONE)
    decoder = PcmDecoder("pcm_s16le", rate_hz)
    parts, start = [], 0
    for size in sizes:
        parts.append(decoder.feed(whole[start : start + 2 * size]))
        start += 2 * size
    parts += [decoder.feed(whole[start:]), decoder.flush()]
    at_once = soxr.resample(np.frombuffer(whole, "<i2") / np.float32(32_768), rate_hz, 16_000)
    joined = np.concatenate(parts)
    assert abs(len(joined) - len(whole) / 2 * 16_000 / rate_hz) <= 1
    assert np.abs(joined[: len(at_once)] - at_once[: len(joined)]).max() < 1e-4


@settings(deadline=None)
@given(
    st.sampled_from(["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_mulaw"]),
    st.integers(0, 50_000),
    st.sampled_from([MIN_RATE_HZ, 8_000, 16_000, 22_050, 44_100, MAX_RATE_HZ]),
)
def test_pieces_are_the_sound_and_none_is_long(encoding: str, count: int, rate_hz: int) -> None:
    data = (bytes(range(256)) * 600)[: count * ENCODINGS[encoding].sample_bytes]
    at_once, in_pieces = PcmDecoder(encoding, rate_hz), PcmDecoder(encoding, rate_hz)
    pieces = list(in_pieces.pieces(data))
    assert len(pieces) == math.ceil(count / round(PIECE_S * rate_hz))
    whole = np.concatenate([at_once.feed(data), at_once.flush()])
    joined = np.concatenate([*pieces, in_pieces.flush()])
    assert len(joined) == len(whole)
    assert np.abs(joined - whole).max(initial=0) < 1e-5


def test_pieces_are_decoded_when_they_are_asked_for() -> None:
    """So that others are served between two of them."""
    decoder = PcmDecoder("pcm_s16le", 8_000)
    pieces = decoder.pieces(as_s16(TONE))
    assert len(decoder.flush()) == 0
    assert sum(map(len, pieces)) > 0


@pytest.mark.parametrize("frame_bytes", [1, 2, 6])
def test_frames_are_whole_wherever_the_bytes_are_cut(frame_bytes: int) -> None:
    for seed in range(50):
        random_ = random.Random(seed)
        data = random_.randbytes(random_.randrange(200))
        frames, taken, start = WholeFrames(frame_bytes), [], 0
        while start < len(data):
            stop = start + random_.randrange(1, 20)
            taken.append(frames.take(data[start:stop]))
            start = stop
        assert all(len(one) % frame_bytes == 0 for one in taken)
        whole_bytes = len(data) - len(data) % frame_bytes
        assert b"".join(taken) == data[:whole_bytes], f"seed {seed}"
        frames.drop()
        assert frames.take(bytes(frame_bytes)) == bytes(frame_bytes)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_half_a_sample_waits_for_the_rest(encoding: str) -> None:
    data = np.arange(48, dtype="u1").tobytes()
    decoder = PcmDecoder(encoding, 16_000)
    parts = [decoder.feed(data[at : at + 1]) for at in range(len(data))]
    whole = PcmDecoder(encoding, 16_000).feed(data)
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_refused_chunk_leaves_the_stream_in_step() -> None:
    decoder = PcmDecoder("pcm_f32le", 16_000)
    quarter = np.array([0.25], "<f4").tobytes()
    with pytest.raises(ValueError, match="not numbers"):
        decoder.feed(np.array([np.nan], "<f4").tobytes() + quarter[:3])
    assert decoder.feed(quarter[3:]).tolist() == [0.25]


def test_after_a_flush_it_is_as_new() -> None:
    decoder = PcmDecoder("pcm_s16le", 24_000)
    sounds = [
        np.concatenate([decoder.feed(as_s16(TONE)), decoder.flush()]).tolist() for _ in range(2)
    ]
    assert sounds[0] == sounds[1]
    assert len(sounds[0]) == 16_000


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("pcm_f32le", np.array([np.nan], "<f4").tobytes()),
        ("pcm_f16le", np.array([np.inf], "<f2").tobytes()),
    ],
)
def test_what_is_no_sound_is_refused(encoding: str, data: bytes) -> None:
    decoder = PcmDecoder(encoding, 16_000)
    with pytest.raises(ValueError, match=r"^got "):
        decoder.feed(data)
    assert len(decoder.feed(b"")) == 0


@pytest.mark.parametrize("rate_hz", [4_000, 192_000])
def test_the_rates_that_are_promised_are_taken(rate_hz: int) -> None:
    decoder = PcmDecoder("pcm_s16le", rate_hz)
    second = [decoder.feed(bytes(2 * rate_hz)), decoder.flush()]
    assert sum(map(len, second)) == pytest.approx(16_000, abs=1)


@pytest.mark.parametrize(
    ("encoding", "rate_hz"),
    [("mp3", 16_000), ("pcm_s16le", 0), ("pcm_s16le", 3_999), ("pcm_s16le", 192_001)],
)
def test_what_it_cannot_decode_is_refused(encoding: str, rate_hz: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        PcmDecoder(encoding, rate_hz)


@settings(deadline=None)
@given(st.sampled_from(list(ENCODINGS)), st.binary())
def test_bytes_are_sound_or_refused(encoding: str, data: bytes) -> None:
    try:
        samples = PcmDecoder(encoding, 16_000).feed(data)
    except ValueError:
        return
    assert samples.shape == (len(data) // ENCODINGS[encoding].sample_bytes,)
    assert ((samples >= -1) & (samples < 1)).all()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_a_decoder_is_the_encoding_and_a_resampler(rate_hz: int) -> None:
    decoder, resampler = PcmDecoder("pcm_f32le", rate_hz), Resampler(rate_hz)
    by_bytes = np.concatenate([decoder.feed(TONE.tobytes()), decoder.flush()])
    by_samples = np.concatenate([resampler.feed(TONE), resampler.flush()])
    assert by_samples.tolist() == by_bytes.tolist()


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_not_bounded(sample: float) -> None:
    with pytest.raises(ValueError, match="infinite or not numbers"):
        bounded(np.array([0.5, sample], dtype=np.float32))


def test_bytes_that_come_again_are_not_taken_twice() -> None:
    decoder, data = PcmDecoder("pcm_s16le", 16_000), np.arange(1, 9, dtype="<i2").tobytes()
    first = decoder.feed(data[:3])
    decoder.feed(data[3:8])
    decoder.undo()
    samples = np.concatenate([first, decoder.feed(data[3:8]), decoder.feed(data[8:])])
    assert (samples * 32_768).tolist() == list(range(1, 9))
