"""Of a damaged AAC stream the whole frames are kept, and all else is counted at its place."""

import random

import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media.adts import AdtsFilter
from tests.sounds import by_ffmpeg


@pytest.fixture(scope="module")
def stream() -> bytes:
    return by_ffmpeg(spoken([9, 5_000] * 200), "adts", "aac")


def frames_of(data: bytes) -> list[bytes]:
    frames, at = [], 0
    while at < len(data):
        length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        frames.append(data[at : at + length])
        at += length
    return frames


def filtered(data: bytes, seed: int) -> tuple[bytes, list[tuple[int, int]]]:
    random_, kept, at = random.Random(seed), AdtsFilter(), 0
    out = []
    while at < len(data):
        count = random_.choice([1, 100, 5_000, 60_000])
        out.append(kept.feed(data[at : at + count], is_last=False))
        at += count
    out.append(kept.feed(b"", is_last=True))
    return b"".join(out), kept.gaps


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_stream_is_kept(stream: bytes, seed: int) -> None:
    assert filtered(stream, seed) == (stream, [])


@pytest.mark.parametrize("seed", range(30))
def test_what_is_between_frames_is_left_out_and_counted(stream: bytes, seed: int) -> None:
    random_, frames = random.Random(seed), frames_of(stream)
    places = sorted(random_.sample(range(len(frames)), random_.randint(1, 4)))
    data, wanted, kept = b"", [], 0
    for index, frame in enumerate(frames):
        if index in places:
            noise = random_.randbytes(random_.choice([1, 50, 3_000, 40_000])).replace(
                b"\xff", b"\0"
            )
            data += noise
            wanted.append((kept, len(noise)))
        data += frame
        kept += len(frame)
    out, gaps = filtered(data, seed)
    # the frame before other bytes is not sure to be one: no frame follows it
    lost = len(stream) - len(out)
    assert sum(count for _, count in gaps) == sum(count for _, count in wanted) + lost
    assert lost <= 2_000 * len(places)
    assert len(gaps) <= 8 * len(places), "long noise is counted in parts"
    assert all(any(abs(at - place) <= 2_000 * len(places) for place, _ in wanted) for at, _ in gaps)


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_no_stream(seed: int) -> None:
    data = random.Random(seed).randbytes(50_000)
    out, gaps = filtered(data, seed)
    assert len(out) + sum(count for _, count in gaps) == len(data)
    assert len(out) < 5_000
    assert filtered(b"", 0) == (b"", [])
