import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.endless.stitch import LastWord, Seam, new_words
from lanscribe.speech.captions import Word
from lanscribe.speech.transcript import Token

SAID_S = 3 * 0.4
"""Where the last word of timed("a b c") ends."""


def timed(text: str, start_s: float = 0.0, step_s: float = 0.4) -> list[Word]:
    """Words that end step_s apart."""
    return [
        Word(f" {word}", start_s + number * step_s, start_s + (number + 1) * step_s)
        for number, word in enumerate(text.split())
    ]


def joined(said: list[Word], heard: list[Word]) -> str:
    completion, words = new_words(said, heard)
    text = "".join(word.text for word in said)
    if completion:
        text += completion.text
    return (text + "".join(word.text for word in words)).strip()


@pytest.mark.parametrize(
    ("said", "heard", "start_s", "expected"),
    [
        ("a b c d", "b c d e f", 0.4, "a b c d e f"),
        ("a b c d", "e f", 1.6, "a b c d e f"),
        ("a b c d", "a b c d", 0.0, "a b c d"),
        ("a b c d", "", 0.0, "a b c d"),
        ("a b c X", "a b c d e", 0.0, "a b c X e"),
        ("the cat the dog", "the dog the end", 0.8, "the cat the dog the end"),
        ("no no no no", "no no no yes", 0.4, "no no no no yes"),
        ("Hello, World", "hello world! again", 0.0, "Hello, World again"),
        ("one two thr", "two three four", 0.4, "one two three four"),
        ("one two, th", "Two three four", 0.4, "one two, three four"),
        ("x y z", "p q r s t", 0.0, "x y z s t"),
    ],
)
def test_words_heard_twice_are_said_once(
    said: str, heard: str, start_s: float, expected: str
) -> None:
    assert joined(timed(said), timed(heard, start_s)) == expected


def test_equal_words_far_apart_are_not_the_same_word() -> None:
    assert joined(timed("yes"), timed("yes", start_s=3.0)) == "yes yes"


@pytest.mark.parametrize("late_s", [-1.4, -0.8, 0.8, 1.4])
def test_words_that_are_heard_at_no_other_time_are_the_ones_that_were_said(late_s: float) -> None:
    """An engine that settles a word early may be wrong about its time by more than a word."""
    said = timed("the little brook but")
    assert joined(said, timed("brook but it ran", 0.8 + late_s)) == "the little brook but it ran"


def test_what_is_heard_at_its_time_and_once_more_was_said_twice() -> None:
    said = timed("never mind")
    assert joined(said, timed("never mind never mind yes")) == "never mind never mind yes"


def test_of_what_is_written_after_a_cut_in_speech_the_last_word_is_kept_back() -> None:
    last = LastWord()
    pieces = [" brook", ",", " bu", "t", "."]
    told = [token.text for piece in pieces for token in last.add(Token(piece, 1.0))]
    assert told == [" brook", ","]
    assert last.start_s == 1.0
    assert last.add(Token("", 2.0)) == [Token("", 2.0)]
    assert last.whole(before_s=0.9) == []
    assert [token.text for token in last.whole(before_s=1.0)] == [" bu", "t", "."]
    assert last.start_s == math.inf


def test_times_may_jitter_within_a_run() -> None:
    said, heard = timed("a b c d"), timed("a b c d e", start_s=0.5)
    assert joined(said, heard) == "a b c d e"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), min_size=2, max_size=30),
    st.data(),
)
def test_any_text_cut_anywhere_comes_out_whole(text: list[str], data: st.DataObject) -> None:
    words = timed(" ".join(text))
    said = data.draw(st.integers(1, len(words)))
    replayed = data.draw(st.integers(0, said - 1))
    before = "".join(word.text for word in words[:replayed])
    assert f"{before} {joined(words[replayed:said], words[replayed:])}".strip() == " ".join(text)


def test_a_seam_lets_go_once_it_is_past_what_was_said() -> None:
    seam = Seam(timed("a b c"), needs_space=True)
    assert seam.add(Token("b", 0.8)) == []
    assert seam.add(Token(" c", 1.2)) == []
    assert seam.add(Token(" d", 1.6, start_s=1.3)) == []
    assert seam.add(Token("", 1.1)) == []
    # listened so far, and may yet say "c" once more
    assert seam.add(Token("", 2.3, settled_s=1.7)) == [Token("", 2.3, settled_s=SAID_S)]
    assert seam.add(Token(" e", 2.6, start_s=2.4)) == [
        Token(" d", 1.6, start_s=1.3),
        Token(" e", 2.6, start_s=2.4),
    ]
    assert seam.add(Token("f", 2.7)) == [Token("f", 2.7)]


@pytest.mark.parametrize("listened_s", [1.9, 4.0, 30.0])
def test_a_seam_lets_go_of_words_that_nothing_follows_once_the_engine_says_so(
    listened_s: float,
) -> None:
    seam = Seam(timed("a b c"), needs_space=True)
    assert seam.add(Token(" c", 1.2)) == []
    assert seam.add(Token(" d", 1.6, start_s=1.3)) == []
    assert seam.add(Token("", listened_s, settled_s=1.75)) == [
        Token("", listened_s, settled_s=SAID_S)
    ]
    settled = Token("", listened_s, settled_s=1.85)
    assert seam.add(settled) == [Token(" d", 1.6, start_s=1.3), settled]


def test_a_seam_waits_for_words_however_far_the_engine_listens_without_writing() -> None:
    seam = Seam(timed("a b c"), needs_space=True)
    assert seam.add(Token("", 100.0, settled_s=0.5)) == [Token("", 100.0, settled_s=0.5)]
    assert seam.add(Token("c", 1.2)) == []
    assert seam.add(Token(" d", 101.0)) == [Token(" d", 101.0)]


@pytest.mark.parametrize("pieces", [[], [" c"], [" c", " d"], [" c", " d", " e", " f", " g"]])
def test_held_words_are_released_once_at_the_end(pieces: list[str]) -> None:
    """Whether the successor ends before it is past the seam or long after."""
    for said, known in ((timed("a b c"), 1), ([], 0)):
        seam = Seam(said, needs_space=True)
        ends_s = [SAID_S + 0.4 * number for number in range(len(pieces))]
        told = [
            token
            for piece, end_s in zip(pieces, ends_s, strict=True)
            for token in seam.add(Token(piece, end_s, start_s=end_s - 0.4))
        ]
        told += seam.close()
        assert [token.text for token in told] == pieces[known:]
        assert seam.close() == []
        assert seam.add(Token(" later", 9.0)) == [Token(" later", 9.0)]


def test_a_script_without_spaces_has_seams_too() -> None:
    said = [
        Word(letter, 0.4 * at, 0.4 * at + 0.4) for at, letter in enumerate("\u4eca\u65e5\u306f")
    ]
    seam = Seam(said, needs_space=True)
    assert seam.add(Token("\u306f", 1.2)) == []
    assert seam.add(Token("\u6674", 1.6, start_s=1.2)) == []
    told = seam.add(Token("\u308c", 2.4, start_s=2.0))
    assert [token.text for token in told] == ["\u6674", "\u308c"]


def test_a_seam_without_overlap_only_parts_the_words() -> None:
    seam = Seam([], needs_space=True)
    assert seam.add(Token("", 0.1)) == [Token("", 0.1)]
    assert seam.add(Token("next", 0.5)) == [Token(" next", 0.5)]
    assert seam.add(Token(" word", 0.9)) == [Token(" word", 0.9)]


def test_scripts_without_spaces_are_not_parted() -> None:
    seam = Seam([], needs_space=True)
    assert seam.add(Token("語", 0.1)) == [Token("語", 0.1)]


def test_a_word_in_pieces_is_not_cut_at_the_seam() -> None:
    seam = Seam(timed("a b"), needs_space=True)
    pieces = [Token("b", 0.8), Token(" lo", 1.7), Token("ng", 2.5), Token(" end", 2.9)]
    emitted = [token for piece in pieces for token in seam.add(piece)]
    assert "".join(token.text for token in emitted) == " long end"


def test_the_rest_of_a_word_begins_where_its_half_ended() -> None:
    seam = Seam(timed("one transcr"), needs_space=True)
    assert seam.add(Token(" transcription", 0.9, start_s=0.4)) == []
    assert seam.close() == [Token("iption", 0.9, start_s=0.8)]


def test_a_successor_that_hears_words_again_tells_none_of_them() -> None:
    seam = Seam(timed("one two", step_s=0.5), needs_space=True)
    again = Token("two", 1.0, start_s=0.5, tentative=" three")
    assert seam.add(again) == []
    assert seam.tentative(replace(again, text="", is_tentative=True)) == ""
    (listened,) = seam.add(Token("", 1.5, settled_s=1.0, tentative=" three"))
    assert listened.tentative == ""
    (past,) = seam.add(Token("", 2.0, settled_s=1.7, tentative=" three"))
    assert past.tentative == " three"
    assert seam.tentative(Token("", 0.0, tentative=" three f", is_tentative=True)) == " three f"


def test_the_first_ones_of_a_successor_get_the_space_that_its_text_would_get() -> None:
    seam = Seam([], needs_space=True)
    guess = Token("", 0.4, tentative="thr", is_tentative=True)
    assert seam.tentative(guess) == " thr"
    assert [token.tentative for token in seam.add(Token("", 0.5, tentative="thr"))] == [" thr"]
    (word,) = seam.add(Token("three", 0.6, start_s=0.1, tentative=" four"))
    assert (word.text, word.tentative) == (" three", " four")
    assert seam.tentative(replace(guess, tentative="ty")) == "ty", "the rest of a word"
