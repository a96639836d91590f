"""Five minutes of phrases in rooms that are not quiet: all that the engine hears is said, once."""

import asyncio

import pytest

from bench.faithful import Faults, Sentence, faults, heard_alone, read_sentences, talk
from bench.words import plain_words
from lanscribe.endless.rollover import Timing
from lanscribe.endless.session import EndlessEngine
from lanscribe.engines.embedded.engine import EmbeddedEngine
from tests.engines.driving import listen, text_of

SECONDS = 300.0
WAYS = [Timing(), Timing(target_s=20, limit_s=25)]


@pytest.fixture(scope="module")
def sentences(embedded_engine: EmbeddedEngine) -> list[Sentence]:
    return asyncio.run(heard_alone(embedded_engine, read_sentences(None)))


def test_the_engine_alone_hears_the_phrases(sentences: list[Sentence]) -> None:
    assert sum(len(sentence.words) for sentence in sentences) == 12


def test_no_phrase_vanishes_and_no_word_is_doubled_at_full_speed(
    embedded_engine: EmbeddedEngine, sentences: list[Sentence]
) -> None:
    """With engine sessions as by default, and changed each 20 s; both at once, as two files."""
    talks = [talk(sentences, SECONDS, seed) for seed in (1, 2)]

    async def hear_both() -> list[str]:
        engines = [EndlessEngine(embedded_engine, rollover) for rollover in WAYS]
        heard = [
            listen(engine, one.samples, 16_000) for engine, one in zip(engines, talks, strict=True)
        ]
        return [text_of(tokens) for tokens in await asyncio.gather(*heard)]

    for seed, text, one in zip((1, 2), asyncio.run(hear_both()), talks, strict=True):
        found = faults(one.words, plain_words(text))
        assert found.are_none, f"seed {seed}: {found}"
        assert found.deleted < 0.03 * len(one.words)


@pytest.mark.parametrize(
    ("expected", "heard", "found"),
    [
        ("a b c d e f", "a b c d e f", Faults((), (), 0)),
        ("a b c d e f", "a f", Faults(("b c d e",), (), 4)),
        ("a b c d e f", "a b e f", Faults((), (), 2)),
        ("a b c", "a b b c", Faults((), ("b",), 0)),
        ("a b c", "a b x c", Faults((), (), 0)),
        ("a b c d", "a b c b c d", Faults((), ("b c",), 0)),
    ],
)
def test_faults_are_what_is_missing_in_a_run_and_what_is_doubled(
    expected: str, heard: str, found: Faults
) -> None:
    assert faults(expected.split(), heard.split()) == found
