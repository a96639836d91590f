"""One stream of real speech, step by step: what is settled, and what may still change."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lanscribe.engines.embedded import recognizer as module
from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.transcript import Token
from tests.engines.conftest import BECKETT
from tests.support import words

STEP = sample_count(0.08)


def steps(recognizer: Recognizer, samples: Samples) -> Iterator[list[Token]]:
    """The tokens of each 80 ms, and at last those of the end."""
    for start in range(0, len(samples), STEP):
        yield recognizer.hear(samples[start : start + STEP])
    yield recognizer.finish()


@pytest.fixture
def stream(moonshine: Moonshine, detector: VoiceDetector) -> Recognizer:
    return Recognizer(moonshine, detector)


def test_words_are_told_before_they_are_settled(stream: Recognizer, beckett: Samples) -> None:
    """What is shown then has the place in the text that it keeps, spaces included."""
    settled, shown_before, early = "", "", 0
    for tokens in steps(stream, beckett):
        for token in tokens:
            assert not (token.is_tentative and token.text)
            early += bool(token.text) and shown_before.startswith(settled + token.text)
            settled += token.text
        shown_before = settled + tokens[-1].tentative if tokens else shown_before
        assert shown_before == shown_before.lstrip()
        assert "  " not in shown_before
    assert shown_before == settled
    assert words(settled) == BECKETT
    assert early >= len(BECKETT) - 2


def test_one_hypothesis_makes_at_most_one_token_that_tells_nothing_else(
    stream: Recognizer, beckett: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    tokens = [token for told in steps(stream, beckett) for token in told if token.is_tentative]
    assert 0 < len(tokens) <= calls["decode"]
    assert all(token.text == "" and token.known_s <= token.end_s for token in tokens)


def test_no_word_is_told_once_its_segment_is_closed(stream: Recognizer, beckett: Samples) -> None:
    """After the silence that closes a segment, and after the end."""
    silence = np.zeros(sample_count(1.0), dtype=np.float32)
    *_, quiet, last = steps(stream, np.concatenate([beckett, silence]))
    assert [token.tentative for token in [*quiet, *last]] == [""] * len([*quiet, *last])
    assert not any(token.is_tentative for token in last)


def test_a_stream_that_is_behind_tells_none(stream: Recognizer, beckett: Samples) -> None:
    first = stream.hear(beckett[: sample_count(1.6)])
    assert first[-1].tentative
    behind = stream.hear(beckett[sample_count(1.6) :][:STEP], is_behind=True)
    assert [token.tentative for token in behind] == [""]


def test_what_counts_as_noise_is_not_told(
    stream: Recognizer, beckett: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a word is settled, for then it is speech."""
    monkeypatch.setattr(module, "_NOISE_LOG_PROBABILITY", 0.1)  # as if no word were likely
    told = [token for tokens in steps(stream, beckett[: sample_count(1.6)]) for token in tokens]
    first = next(index for index, token in enumerate(told) if token.text)
    assert [token for token in told[:first] if token.tentative or token.is_tentative] == []


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the model is asked, by method, from now on."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(Moonshine, name)

        def counting(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return method(*args, **options)

        monkeypatch.setattr(Moonshine, name, counting)

    for name in ("front", "encode", "decode", "_advance"):
        count(name)
    return calls


def test_telling_words_that_may_change_asks_the_model_nothing(
    moonshine: Moonshine,
    detector: VoiceDetector,
    beckett: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As often as without them, and the text and its times are the same."""

    def heard() -> tuple[list[Token], dict[str, int]]:
        calls.clear()
        pieces = list(steps(Recognizer(moonshine, detector), beckett))
        return [token for tokens in pieces for token in tokens], dict(calls)

    calls = counted(monkeypatch)
    told, with_them = heard()
    monkeypatch.setattr(module._Segment, "tentative", "")
    plain, without = heard()
    assert with_them == without
    assert with_them["encode"] > 10
    assert any(token.tentative for token in told)
    assert not any(token.is_tentative for token in plain)

    def bare(tokens: list[Token]) -> list[tuple[str, float, float | None, float | None]]:
        return [
            (token.text, token.end_s, token.start_s, token.settled_s)
            for token in tokens
            if not token.is_tentative
        ]

    assert bare(told) == bare(plain)
