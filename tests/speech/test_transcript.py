"""Tokens: how their times move, how far each settles the text, and the transcript they make."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.speech.captions import Word
from lanscribe.speech.transcript import Token, Transcript, words_of

TIMES = st.floats(0, 10_000)
TOKENS = st.builds(
    Token,
    st.sampled_from([" the", "re", ".", " ", "\u8a9e", ""]),
    TIMES,
    start_s=st.none() | TIMES,
    is_lost=st.booleans(),
    settled_s=st.none() | TIMES,
)


def moved(at_s: float | None, by_s: float) -> float | None:
    return None if at_s is None else at_s + by_s


# Times of a token.


@given(TOKENS, TIMES | st.just(0.0))
def test_all_times_that_are_told_move_and_nothing_else(token: Token, by_s: float) -> None:
    assert token.later(by_s) == Token(
        token.text,
        token.end_s + by_s,
        start_s=moved(token.start_s, by_s),
        is_lost=token.is_lost,
        settled_s=moved(token.settled_s, by_s),
    )


@pytest.mark.parametrize(
    ("told_s", "holds_s"), [(None, 2.0), (0.0, 0.0), (1.5, 1.5), (2.0, 2.0), (3.0, 3.0)]
)
def test_a_time_that_is_not_told_is_the_end(told_s: float | None, holds_s: float) -> None:
    assert Token(" a", 2.0, start_s=told_s).begin_s == holds_s
    assert Token("", 2.0, settled_s=told_s).known_s == holds_s


@given(TOKENS, TIMES)
def test_text_is_not_complete_beyond_a_bound_and_never_further_than_before(
    token: Token, most_s: float
) -> None:
    bounded = token.settled_by(most_s)
    assert bounded.known_s == min(token.known_s, most_s)
    assert bounded.end_s == token.end_s
    assert (bounded.text, bounded.start_s) == (token.text, token.start_s)


@given(TOKENS, TIMES)
def test_no_part_of_a_token_lies_before_what_was_said(token: Token, said_s: float) -> None:
    after = token.after(said_s)
    assert after.end_s == max(token.end_s, said_s)
    assert min(after.begin_s, after.end_s) >= said_s
    assert after.begin_s <= after.end_s
    assert (after.start_s is None) == (token.start_s is None)
    assert after.known_s == (after.end_s if token.settled_s is None else token.settled_s)


@pytest.mark.parametrize(
    ("start_s", "end_s", "said_s", "expected"),
    [
        (1.0, 2.0, 0.5, (1.0, 2.0)),
        (1.0, 2.0, 1.5, (1.5, 2.0)),
        (1.0, 2.0, 3.0, (3.0, 3.0)),
        (None, 2.0, 3.0, (None, 3.0)),
        (3.0, 2.0, 1.0, (2.0, 2.0)),  # an engine that begins a word after its end
    ],
)
def test_what_is_said_before_moves_the_times_no_more_than_it_must(
    start_s: float | None, end_s: float, said_s: float, expected: tuple[float | None, float]
) -> None:
    after = Token(" word", end_s, start_s=start_s).after(said_s)
    assert (after.start_s, after.end_s) == expected


# The transcript.


@given(st.lists(TOKENS.filter(lambda token: token.text), max_size=60))
def test_a_transcript_is_the_text_of_its_tokens_and_its_words_are_the_text(
    tokens: list[Token],
) -> None:
    transcript = Transcript()
    for count, token in enumerate(tokens, 1):
        transcript.append(token)
        assert transcript.token_count == count
    text = "".join(token.text for token in tokens)
    assert transcript.text == text
    assert transcript.words == words_of(tokens)
    assert "".join(word.text for word in transcript.words) == (text if text.strip() else "")
    assert all(word.text.strip() for word in transcript.words)


def test_progress_without_text_is_no_part_of_a_word() -> None:
    tokens = [Token(" a", 1.0, start_s=0.5), Token("", 9.0), Token("nd", 1.5), Token("", math.inf)]
    assert words_of(tokens) == [Word(" and", 0.5, 1.5)]


@pytest.mark.parametrize("blanks", [[], [" "], [" ", "\n", ""]])
def test_space_alone_is_no_word(blanks: list[str]) -> None:
    assert words_of(Token(blank, 1.0) for blank in blanks) == []
    assert len(words_of([*(Token(blank, 1.0) for blank in blanks), Token("a", 2.0)])) == 1
