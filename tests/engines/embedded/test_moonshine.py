"""The model and its graphs, on real speech."""

import numpy as np
import pytest

from lanscribe.engines.embedded.moonshine import Features, Moonshine, Tokenizer
from lanscribe.engines.embedded.streaming import Unit
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, sample_count
from tests.engines.conftest import BECKETT


def features_of(model: Moonshine, samples: Samples, block_samples: int = 0) -> Features:
    features = Features()
    step = block_samples or len(samples)
    for start in range(0, len(samples), step):
        features.append(model, samples[start : start + step])
    return features


def tokens_of(units: list[Unit]) -> list[int]:
    return [token for unit in units for token in unit.tokens]


def words_of(units: list[Unit]) -> list[str]:
    return [unit.text.strip().lower() for unit in units if unit.is_word]


def test_it_hears_what_is_said(moonshine: Moonshine, beckett: Samples) -> None:
    heard = moonshine.encode(features_of(moonshine, beckett))
    assert heard
    units = moonshine.decode(heard).units
    assert words_of(units) == BECKETT
    assert all(unit.log_probability <= 0 for unit in units)


@pytest.mark.parametrize("block_samples", [37, 512, 4800, 50_000])
def test_features_do_not_depend_on_how_the_sound_came(
    moonshine: Moonshine, beckett: Samples, block_samples: int
) -> None:
    sound = beckett[:50_000] if block_samples < 100 else beckett
    at_once = features_of(moonshine, sound).whole()
    in_blocks = features_of(moonshine, sound, block_samples).whole()
    assert at_once
    assert in_blocks
    np.testing.assert_allclose(in_blocks[0], at_once[0], atol=1e-4)
    # the last 32 ms of sound count for the mean and deviation once there are 32 ms more
    assert in_blocks[1:] == pytest.approx(at_once[1:], rel=0.01, abs=1e-5)


def test_too_little_sound_is_nothing(moonshine: Moonshine) -> None:
    assert moonshine.encode(Features()) is None
    assert moonshine.encode(features_of(moonshine, np.zeros(800, dtype=np.float32))) is None


@pytest.mark.parametrize("kind", ["right", "half right", "wrong", "too long"])
def test_a_guess_does_not_change_the_answer(
    moonshine: Moonshine, beckett: Samples, kind: str
) -> None:
    heard = moonshine.encode(features_of(moonshine, beckett))
    assert heard
    right = tokens_of(moonshine.decode(heard).units)
    guess = {
        "right": right,
        "half right": [*right[:5], 1234, *right[6:]],
        "wrong": [777] * 10,
        "too long": right * 3,
    }[kind]
    assert tokens_of(moonshine.decode(heard, guess=guess).units) == right


def test_the_answer_continues_the_prefix(moonshine: Moonshine, beckett: Samples) -> None:
    heard = moonshine.encode(features_of(moonshine, beckett))
    assert heard
    units = moonshine.decode(heard).units
    prefix = tokens_of(units[:4])
    assert words_of(moonshine.decode(heard, prefix=prefix).units) == words_of(units[4:])


def test_an_answer_is_never_endless(moonshine: Moonshine) -> None:
    noise = np.random.default_rng(3).normal(0, 0.2, sample_count(4)).astype(np.float32)
    heard = moonshine.encode(features_of(moonshine, noise))
    assert heard
    assert len(tokens_of(moonshine.decode(heard, prefix=[29_896] * 8).units)) <= 40


@pytest.fixture
def tokenizer() -> Tokenizer:
    space = "\u2581".encode()
    pieces = [b"<unk>", b"<s>", b"</s>", space + b"hel", b"lo", b",", space + b"it", b"'", b"s"]
    pieces += [b".", b"..", space + b"x" * 200, b"\xf0\x9f", b"\x98\x80"]
    data = b""
    for piece in pieces:
        length = len(piece)
        head = bytes([length]) if length < 128 else bytes([128 + length % 128, length // 128])
        data += head + piece
    return Tokenizer(data)


def test_tokens_become_words_and_marks(tokenizer: Tokenizer) -> None:
    tokens = [3, 4, 5, 6, 7, 8, 9, 10]
    units = tokenizer.units(tokens, [-0.1, -0.5, -0.2, -0.3, -0.1, -0.1, -0.9, -0.1])
    assert [unit.text for unit in units] == [" hello", ",", " it's", "..."]
    assert [unit.is_word for unit in units] == [True, False, True, False]
    assert [unit.log_probability for unit in units] == [-0.5, -0.2, -0.3, -0.9]
    assert tokens_of(units) == tokens


def test_long_and_broken_pieces_are_read(tokenizer: Tokenizer) -> None:
    assert tokenizer.text([11]) == " " + "x" * 200
    assert tokenizer.text([12, 13]) == "\U0001f600"
    assert tokenizer.text([12]) == "\ufffd"


def test_speech_is_told_from_the_rest(
    detector: VoiceDetector, beckett: Samples, not_speech: dict[str, Samples]
) -> None:
    speech = detector.plain_stream().probabilities(beckett)
    assert 0.3 < np.mean(np.array(speech) > 0.5) < 0.7
    for name, sound in not_speech.items():
        loud = np.array(detector.plain_stream().probabilities(sound)) > 0.5
        assert np.mean(loud) < 0.1, name


def test_probabilities_do_not_depend_on_how_the_sound_came(
    detector: VoiceDetector, beckett: Samples
) -> None:
    at_once = detector.plain_stream().probabilities(beckett[:32_000])
    stream = detector.plain_stream()
    in_blocks = [
        one
        for start in range(0, 32_000, 333)
        for one in stream.probabilities(beckett[start : min(start + 333, 32_000)])
    ]
    assert in_blocks == pytest.approx(at_once, abs=1e-5)
