"""Words with times, the segments that are shown at once, and caption files.

A segment fits on a screen: at most two lines of 42 narrow letters, and seven seconds.
The two terminal clients carry a copy: after a change run `.venv/bin/python -m clients.generate`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

LINE_WIDTH = 42
SEGMENT_S = 7.0
SEGMENT_GAP_S = 0.8
"""A longer pause between two words begins a segment."""
WORD_S = 1.0
"""The longest assumed length of a word if the engine does not tell its beginning."""
SHOWN_S = 1.0
"""A caption stays for at least this long, unless the next one comes earlier."""
NEVER_S = 1e9
"""The assumed start of a caption after the last one."""
FILE_HEADS = {"srt": "", "vtt": "WEBVTT\n\n"}
"""The formats of caption files, and the first lines of each."""
SENTENCE_END = re.compile(r"""[.!?\u2026\u3002\uff01\uff1f]["')\]\u2019\u201d\u300d]*$""")
ABBREVIATION = re.compile(r"^(?:Mrs?|Ms|Drs?|St|Prof|Sr|Jr|vs|[A-Z])\.$")
ARROW = re.compile("--+>")
UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC")


class Word(NamedTuple):
    """A word and when it was spoken, in seconds from the first sample.

    In a transcript it is as emitted, including the space around it; the server sends clients the
    `bare` word.
    """

    text: str
    start_s: float
    end_s: float

    @property
    def bare(self) -> "Word":
        """The word without the space around it."""
        return self._replace(text=self.text.strip())

    @property
    def key(self) -> str:
        """The letters and digits that make two words equal."""
        folded = unicodedata.normalize("NFKC", self.text).casefold()
        return "".join(letter for letter in folded if letter.isalnum())


def add_word(words: list[Word], text: str, start_s: float | None, end_s: float) -> None:
    """Add a piece of text, not empty, to words in order of time and without overlap.

    A word begins with a piece that starts with a space, or after a piece that ends with one. In
    a script without spaces every piece is a word. Punctuation belongs to the word before.
    start_s: None if the engine cannot tell.
    """
    last = words[-1] if words else Word("", 0.0, 0.0)
    end_s = max(end_s, last.end_s)
    start_s = end_s - WORD_S if start_s is None else start_s
    if not words or opens_word(last.text, text):
        words.append(Word(text, min(max(start_s, last.end_s), end_s), end_s))
    elif last.text.strip():
        words[-1] = Word(last.text + text, last.start_s, end_s)
    else:
        words[-1] = Word(last.text + text, min(max(start_s, 0.0), end_s), end_s)


def opens_word(before: str, text: str) -> bool:
    """Whether `text` after the word `before` begins a new word."""
    if not before.strip() or not text.strip():
        return False
    is_parted = text[0].isspace() or before[-1].isspace()
    return is_parted or (is_unspaced(text[0]) and text[0].isalnum())


def is_unspaced(letter: str) -> bool:
    """Whether the letter belongs to a script without spaces between words."""
    return unicodedata.name(letter, "").startswith(UNSPACED_SCRIPTS)


def in_line(words: Sequence[Word]) -> str:
    """The text of the words, without line breaks and with single spaces."""
    return " ".join("".join(word.text for word in words).split())


def width(text: str) -> int:
    """The width in letters; Chinese, Japanese and Korean letters count twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@dataclass(frozen=True, slots=True)
class Segment:
    """Words that are shown together; at least one."""

    words: tuple[Word, ...]

    @property
    def start_s(self) -> float:
        """Where its first word begins."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last word ends."""
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        """Its words, in one line."""
        return in_line(self.words)

    @property
    def lines(self) -> list[str]:
        """The text in one line if that is short enough, else in two of about equal length."""
        if width(self.text) <= LINE_WIDTH or len(self.words) == 1:
            return [self.text]
        halves = [
            [in_line(self.words[:cut]), in_line(self.words[cut:])]
            for cut in range(1, len(self.words))
        ]
        return min(halves, key=lambda lines: max(map(width, lines)))


def segments(words: Sequence[Word]) -> list[Segment]:
    """The words in order, cut at ends of sentences, at pauses, and when a segment is full."""
    found: list[Segment] = []
    start = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or ends_segment(words[start:index], words[index]):
            found.append(Segment(tuple(words[start:index])))
            start = index
    return found


def ends_segment(words: Sequence[Word], following: Word) -> bool:
    """Whether a segment with `words` ends before the word `following`."""
    last = words[-1].text.strip()
    if SENTENCE_END.search(last) and not ABBREVIATION.match(last):
        return True
    if following.start_s - words[-1].end_s > SEGMENT_GAP_S:
        return True
    longer = Segment((*words, following))
    is_too_long = following.end_s - words[0].start_s > SEGMENT_S
    return is_too_long or max(map(width, longer.lines)) > LINE_WIDTH


def verbose(words: Sequence[Word], duration_s: float) -> dict[str, Any]:
    """Text, words and segments in the form of OpenAI's `verbose_json`; times in seconds."""
    return {
        "text": in_line(words),
        "duration": round(duration_s, 3),
        "words": [
            {"word": in_line([word]), "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
            for word in words
        ],
        "segments": [
            {
                "id": index,
                "start": round(segment.start_s, 3),
                "end": round(segment.end_s, 3),
                "text": segment.text,
            }
            for index, segment in enumerate(segments(words))
        ],
    }


def caption_file(words: Sequence[Word], kind: str) -> str:
    """The words as a caption file; kind: a key of FILE_HEADS."""
    found = segments(words)
    next_starts_s = [*(segment.start_s for segment in found[1:]), NEVER_S]
    cues = [
        cue(number, segment, next_s, kind)
        for number, (segment, next_s) in enumerate(zip(found, next_starts_s, strict=False), 1)
    ]
    return FILE_HEADS[kind] + "".join(cues)


def cue(number: int, segment: Segment, next_s: float, kind: str) -> str:
    """A segment as an entry of a caption file; next_s: where the next segment begins.

    SRT cannot escape an arrow in the text, so the arrow is shortened there.
    """
    text = "\n".join(segment.lines)
    if kind == "srt":
        return f"{number}\n{cue_times(segment, next_s, ',')}\n{ARROW.sub('->', text)}\n\n"
    return f"{cue_times(segment, next_s, '.')}\n{escape(text, quote=False)}\n\n"


def cue_times(segment: Segment, next_s: float, mark: str) -> str:
    """The times at which a segment is shown; WebVTT requires the end to be after the start."""
    start_ms, next_ms = round(1000 * segment.start_s), round(1000 * next_s)
    shown_ms = min(start_ms + round(1000 * SHOWN_S), next_ms)
    end_ms = max(round(1000 * segment.end_s), shown_ms, start_ms + 1)
    return f"{clock(start_ms, mark)} --> {clock(end_ms, mark)}"


def clock(ms: int, mark: str) -> str:
    """A time as hours:minutes:seconds, with the `mark` before its milliseconds."""
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{mark}{ms % 1000:03}"
