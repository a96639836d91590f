"""Words, segments and files, read back with a parser that others use."""

import io
import json

import pytest
import webvtt
from hypothesis import assume, given
from hypothesis import strategies as st

from lanscribe.speech.captions import (
    LINE_WIDTH,
    SEGMENT_GAP_S,
    SEGMENT_S,
    Segment,
    Word,
    add_word,
    caption_file,
    segments,
    verbose,
)

HOURS_99_S = 99 * 3600.0
Piece = tuple[str, float | None, float]
"""Text as an engine writes it, where it began if that is told, and where it ended."""


def srt(words: list[Word]) -> str:
    return caption_file(words, "srt")


def vtt(words: list[Word]) -> str:
    return caption_file(words, "vtt")


def joined(pieces: list[Piece]) -> list[Word]:
    words: list[Word] = []
    for text, start_s, end_s in pieces:
        add_word(words, text, start_s, end_s)
    return words


@st.composite
def piece_lists(draw: st.DrawFn) -> list[Piece]:
    """Pieces as an engine may write them, and worse: times that overlap or are not told."""
    texts = st.one_of(
        st.text(" ab.!?<>&-\n", min_size=1, max_size=8),
        st.sampled_from([" the", "-->", " Mr.", "\u8a9e", "\u3002", "\uff01", " " + "x" * 50]),
    )
    at_s = draw(st.sampled_from([0.0, 12.0, HOURS_99_S]))
    pieces: list[Piece] = []
    for text in draw(st.lists(texts, max_size=60)):
        at_s += draw(st.floats(0, 3))
        length_s = draw(st.one_of(st.none(), st.floats(0, 4)))
        start_s = None if length_s is None else max(0.0, at_s - length_s)
        pieces.append((text, start_s, at_s))
    return pieces


WORD_LISTS = piece_lists().map(joined).filter(lambda words: not words or words[0].text.strip())
"""Lists of words that have letters or marks."""


def spoken(text: str, step_s: float = 0.4, start_s: float = 0.0) -> list[Word]:
    """Words that follow each other without a pause."""
    return [
        Word(f" {word}", start_s + index * step_s, start_s + (index + 1) * step_s)
        for index, word in enumerate(text.split())
    ]


def texts(words: list[Word]) -> list[str]:
    return [segment.text for segment in segments(words)]


# Words.


@given(piece_lists())
def test_words_joined_are_the_text_and_their_times_grow(pieces: list[Piece]) -> None:
    words = joined(pieces)
    assert "".join(word.text for word in words) == "".join(text for text, _, _ in pieces)
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert len(words) <= 1 or all(word.text.strip() for word in words)


def test_pieces_make_words_and_marks_stay_with_theirs() -> None:
    pieces: list[Piece] = [("trans", 0.4, 0.5), ("crib", 0.5, 0.6), ("e", 0.6, 0.7)]
    pieces += [(",", 0.8, 0.8), (" it", 1.0, 1.2)]
    assert joined(pieces) == [Word("transcribe,", 0.4, 0.8), Word(" it", 1.0, 1.2)]


def test_a_word_after_lone_space_begins_with_its_first_letter() -> None:
    pieces: list[Piece] = [(" ", 0.0, 0.1), ("so", 0.9, 1.0), (" ", 1.0, 1.1), ("on", None, 2.0)]
    assert joined(pieces) == [Word(" so ", 0.9, 1.1), Word("on", 1.1, 2.0)]


def test_scripts_without_spaces_have_a_word_for_each_token() -> None:
    pieces: list[Piece] = [
        (text, 1.0, 1.0) for text in ("\u65e5", "\u672c", "\u3002", "\u8a9e", "!")
    ]
    assert [word.text for word in joined(pieces)] == ["\u65e5", "\u672c\u3002", "\u8a9e!"]


def test_a_start_that_was_not_told_is_close_to_the_end() -> None:
    assert joined([("a", None, 0.5), (" b", None, 0.7), (" c", None, 9.0)]) == [
        Word("a", 0.0, 0.5),
        Word(" b", 0.5, 0.7),
        Word(" c", 8.0, 9.0),
    ]


@given(st.text(" \n\t", max_size=3), st.text(" \n\t", max_size=3))
def test_a_word_for_clients_has_no_space_around_it(before: str, after: str) -> None:
    assert Word(f"{before}it's{after}", 1.0, 2.0).bare == Word("it's", 1.0, 2.0)


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        (' "Hello,"', "hello", True),
        (" STRASSE.", "stra\u00dfe", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("\uff21\uff11", "a1", True),
        (" it's", "its!", True),
        ("its", "it", False),
        ("1", "11", False),
        ("caf\u00e9", "cafe", False),
    ],
)
def test_words_are_equal_by_letters_and_digits(one: str, other: str, is_equal: bool) -> None:
    assert (Word(one, 0.0, 1.0).key == Word(other, 5.0, 6.0).key) is is_equal


def test_marks_and_space_make_no_word_equal_to_another() -> None:
    assert [Word(text, 0.0, 1.0).key for text in ("", " ", "...", " \u2014")] == [""] * 4


# Segments.


@given(WORD_LISTS)
def test_segments_share_out_the_words(words: list[Word]) -> None:
    found = segments(words)
    assert [word for segment in found for word in segment.words] == words
    for segment in found:
        assert segment.words
        assert " ".join(segment.lines).split() == segment.text.split()
        assert len(segment.words) == 1 or len(segment.lines) <= 2
        gaps_s = [
            later.start_s - word.end_s
            for word, later in zip(segment.words, segment.words[1:], strict=False)
        ]
        assert max(gaps_s, default=0) <= SEGMENT_GAP_S
        if len(segment.words) > 1:
            assert segment.end_s - segment.start_s <= SEGMENT_S
            assert all(len(line) <= LINE_WIDTH for line in segment.lines)


def test_sentences_and_pauses_part_segments_and_titles_do_not() -> None:
    words = spoken('Mr. J. Smith said "no." He left! And') + spoken("came back", start_s=9)
    assert texts(words) == ['Mr. J. Smith said "no."', "He left!", "And", "came back"]


def test_no_more_than_two_lines_and_seven_seconds() -> None:
    quick = segments(spoken("word " * 40, step_s=0.1))
    assert [len(segment.words) for segment in quick] == [16, 16, 8]
    assert quick[0].lines == [("word " * 8).strip()] * 2
    slow = segments(spoken("word " * 40, step_s=1.0))
    assert [len(segment.words) for segment in slow] == [7, 7, 7, 7, 7, 5]


def test_wide_letters_take_twice_the_room() -> None:
    words = [Word("\u8a9e", index / 10, index / 10 + 0.1) for index in range(50)]
    assert [segment.lines for segment in segments(words)] == [["\u8a9e" * 21] * 2, ["\u8a9e" * 8]]


def test_a_line_is_as_long_as_may_be() -> None:
    assert Segment((Word("x" * 20, 0, 1), Word(" " + "y" * 21, 1, 2))).lines == [
        "x" * 20 + " " + "y" * 21
    ]
    assert len(Segment((Word("x" * 20, 0, 1), Word(" " + "y" * 22, 1, 2))).lines) == 2


def test_a_word_that_fits_nowhere_is_a_segment() -> None:
    assert Segment((Word("x" * 99, 0, 1),)).lines == ["x" * 99]
    assert texts([Word("a", 0, 1), Word(" " + "x" * 99, 1, 2), Word(" b", 2, 3)]) == [
        "a",
        "x" * 99,
        "b",
    ]


# Files.


def ms(time: str) -> int:
    """What a parser made of a time."""
    hours, minutes, seconds = time.split(":")
    return round(1000 * (int(hours) * 3600 + int(minutes) * 60 + float(seconds)))


@given(WORD_LISTS)
def test_both_kinds_of_file_are_read_back_as_they_were_meant(words: list[Word]) -> None:
    assume(words)  # an SRT file without captions is an empty one, which the parser refuses
    found = segments(words)
    for captions in (
        webvtt.from_buffer(io.StringIO(vtt(words)), format="vtt"),
        webvtt.from_buffer(io.StringIO(srt(words)), format="srt"),
    ):
        starts = [ms(caption.start) for caption in captions.captions]
        assert starts == [round(1000 * segment.start_s) for segment in found]
        assert starts == sorted(starts)
        assert all(ms(caption.end) > ms(caption.start) for caption in captions.captions)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_what_could_be_taken_for_markup_is_read_back_as_text(kind: str) -> None:
    words = spoken("a < b && <c> & d \u2192 e")
    made = caption_file(words, kind)
    (caption,) = webvtt.from_buffer(io.StringIO(made), format=kind).captions
    assert (
        caption.raw_text
        == {
            "srt": "a < b && <c> & d \u2192 e",
            "vtt": "a &lt; b &amp;&amp; &lt;c&gt; &amp; d \u2192 e",
        }[kind]
    )


def test_an_arrow_ends_nothing() -> None:
    words = spoken("00:00:01.000 --> 00:00:02.000")
    assert "\n00:00:01.000 --&gt; 00:00:02.000\n" in vtt(words)
    assert "\n00:00:01.000 -> 00:00:02.000\n" in srt(words)
    assert "-->" not in srt(spoken("a ---> b"))[30:]


def test_files_to_the_letter() -> None:
    words = [Word("One", 0.25, 0.5), Word(" two.", 0.5, 0.5), Word(" Late.", 360_000.5, 360_002.0)]
    assert vtt(words) == (
        "WEBVTT\n\n00:00:00.250 --> 00:00:01.250\nOne two.\n\n"
        "100:00:00.500 --> 100:00:02.000\nLate.\n\n"
    )
    assert srt(words) == (
        "1\n00:00:00,250 --> 00:00:01,250\nOne two.\n\n"
        "2\n100:00:00,500 --> 100:00:02,000\nLate.\n\n"
    )


def test_a_caption_makes_room_for_the_next() -> None:
    assert "00:00:00.000 --> 00:00:00.400\nNo." in vtt(spoken("No. Yes."))
    at_once = vtt([Word("No.", 1.0, 1.0), Word(" Yes.", 1.0, 1.0)])
    assert "00:00:01.000 --> 00:00:01.001\nNo." in at_once


def test_nothing_said_is_a_file_too() -> None:
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")
    assert verbose([], 2.0) == {"text": "", "duration": 2.0, "words": [], "segments": []}


def test_verbose_is_json_in_openais_shape() -> None:
    words = [Word("One", 0.25, 0.5), Word(" two.", 0.5, 0.9000001), Word(" End", 2, 3)]
    assert json.loads(json.dumps(verbose(words, 3.5))) == {
        "text": "One two. End",
        "duration": 3.5,
        "words": [
            {"word": "One", "start": 0.25, "end": 0.5},
            {"word": "two.", "start": 0.5, "end": 0.9},
            {"word": "End", "start": 2, "end": 3},
        ],
        "segments": [
            {"id": 0, "start": 0.25, "end": 0.9, "text": "One two."},
            {"id": 1, "start": 2, "end": 3, "text": "End"},
        ],
    }
