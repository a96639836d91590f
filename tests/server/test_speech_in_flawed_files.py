"""Real speech in files as people have them: the words of all that can be read arrive."""

import io
from collections.abc import Callable

import httpx
import jiwer
import numpy as np
import pytest

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import Samples
from tests.server.test_rest import plain
from tests.servers import Server
from tests.sounds import by_ffmpeg, by_libsndfile
from tests.support import DEADLINE_S

SAID = "ever tried ever failed no matter try again fail again fail better"
FIRST, LAST = "ever tried", "better"


def joined(data: bytes) -> bytes:
    return data + data


def in_channels(speech: Samples, gains: tuple[float, ...]) -> bytes:
    sound = speech[:, np.newaxis] * np.array(gains, dtype=np.float32)
    return by_libsndfile(sound, "WAV")


def zeroed(data: bytes, begin: float, end: float) -> bytes:
    first, last = round(begin * len(data)), round(end * len(data))
    return data[:first] + bytes(last - first) + data[last:]


def mp3(speech: Samples) -> bytes:
    return by_libsndfile(speech, "MP3")


def opus(speech: Samples) -> bytes:
    return by_ffmpeg(speech, "ogg", "libopus", 48_000)


WHOLE: dict[str, Callable[[Samples], bytes]] = {
    "voice in the centre of 5.1": lambda s: in_channels(s, (0, 0, 1, 0, 0, 0)),
    "opposite phase": lambda s: in_channels(s, (1, -1)),
    "one of 40 channels": lambda s: in_channels(s, (*[0.0] * 39, 1)),
    "MP3 in a WAV": lambda s: by_ffmpeg(s, "wav", "mp3"),
    "big-endian WAV": lambda s: by_libsndfile(s, "WAV", endian="BIG"),
    "floats in the scale of 16 bits": lambda s: by_libsndfile(s * 32_768, "WAV", subtype="FLOAT"),
    "GSM in a WAV": lambda s: by_libsndfile(s[::2], "WAV", 8_000, subtype="GSM610"),
    "MP3 with tags": lambda s: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + mp3(s) + b"TAG" + bytes(125),
}
TWICE: dict[str, Callable[[Samples], bytes]] = {
    "joined MP3": lambda s: joined(mp3(s)),
    "joined WAV": lambda s: joined(by_libsndfile(s, "WAV")),
    "Opus and Vorbis of other rates, chained": lambda s: opus(s) + by_libsndfile(s, "OGG"),
    "AAC that changes its rate": lambda s: (
        by_ffmpeg(s, "adts", "aac", 16_000) + by_ffmpeg(s, "adts", "aac", 44_100)
    ),
}
FLAWED: dict[str, tuple[Callable[[Samples], bytes], str, str]] = {
    "MP3 with a hole": (lambda s: zeroed(mp3(s), 0.45, 0.5), FIRST, LAST),
    "FLAC with a hole": (lambda s: zeroed(by_libsndfile(s, "FLAC"), 0.45, 0.5), FIRST, LAST),
    "FLAC that is cut off": (lambda s: by_libsndfile(s, "FLAC")[:100_000], FIRST, ""),
    "WebM that is cut off": (lambda s: by_ffmpeg(s, "webm", "libopus", 48_000)[:50_000], FIRST, ""),
}


@pytest.fixture(scope="module")
def speech() -> Samples:
    return read_wave(sample_path())


def ask(server: Server, data: bytes) -> dict[str, object]:
    url = f"{server.http_url}/v1/audio/transcriptions"
    answer = httpx.post(url, files={"file": ("a", io.BytesIO(data))}, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    fields: dict[str, object] = answer.json()
    return fields


@pytest.mark.parametrize("kind", WHOLE)
def test_all_words_arrive(embedded_server: Server, speech: Samples, kind: str) -> None:
    answer = ask(embedded_server, WHOLE[kind](speech))
    assert plain(str(answer["text"])) == SAID
    assert "missing" not in answer


@pytest.mark.parametrize("kind", TWICE)
def test_the_words_of_both_parts_arrive(
    embedded_server: Server, speech: Samples, kind: str
) -> None:
    answer = ask(embedded_server, TWICE[kind](speech))
    text = plain(str(answer["text"]))
    assert text.count("ever tried ever failed no matter") == 2
    assert jiwer.wer(f"{SAID} {SAID}", text) < 0.1  # it hears "failed better" in other company
    assert "missing" not in answer


@pytest.mark.parametrize("kind", FLAWED)
def test_the_words_around_a_flaw_arrive(
    embedded_server: Server, speech: Samples, kind: str
) -> None:
    make, first, last = FLAWED[kind]
    answer = ask(embedded_server, make(speech))
    text = plain(str(answer["text"]))
    assert text.startswith(first)
    assert text.endswith(last)
    assert len(text) <= len(SAID)
    assert answer["missing"]
