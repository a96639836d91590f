"""The text of one utterance, with times, as it grows: words, segments, and files of them.

A segment is what fits on a screen at once: two lines of 42 narrow letters, seven seconds.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

LINE_WIDTH = 42
SEGMENT_S = 7.0
PAUSE_S = 0.8
"""A longer pause between two words begins a segment."""
WORD_S = 1.0
"""A word whose beginning the engine did not tell is taken to be no longer than this."""
SHOWN_S = 1.0
"""A caption stays for so long, unless the next one comes before."""
_SENTENCE_END = re.compile(r"""[.!?\u2026\u3002\uff01\uff1f]["')\]\u2019\u201d\u300d]*$""")
_ARROW = re.compile("--+>")
_ABBREVIATION = re.compile(r"^(?:Mrs?|Ms|Drs?|St|Prof|Sr|Jr|vs|[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text to append, with its place in the audio.

    text: what to append, its leading space included; "" tells progress only.
    end_s: seconds from the first sample fed. Of a word, where it ended; of a token without
    text, how far the engine has listened.
    start_s: of text, where it began; None when the engine cannot tell, and for no text.
    is_lost: the audio from start_s to end_s was passed over and not transcribed; text is "".
    settled_s: of a token without text, how far the text is complete: no word that ends before it
    will come any more. An engine listens further than it has written. None: as far as end_s.
    """

    text: str
    end_s: float
    _: KW_ONLY
    start_s: float | None = None
    is_lost: bool = False
    settled_s: float | None = None

    def later(self, by_s: float) -> "Token":
        """The token in audio that has so much before it."""
        start_s = None if self.start_s is None else self.start_s + by_s
        settled_s = None if self.settled_s is None else self.settled_s + by_s
        return replace(self, end_s=self.end_s + by_s, start_s=start_s, settled_s=settled_s)

    def settled_by(self, most_s: float) -> "Token":
        """The token, its text complete no further than `most_s`."""
        return replace(self, settled_s=min(self.known_s, most_s))

    @property
    def begin_s(self) -> float:
        """Where its text began, as far as the engine can tell."""
        return self.end_s if self.start_s is None else self.start_s

    @property
    def known_s(self) -> float:
        """How far the text is complete once this token has come."""
        return self.end_s if self.settled_s is None else self.settled_s

    def after(self, said_s: float) -> "Token":
        """The token, no part of it before `said_s`, where the last word ended."""
        end_s = max(self.end_s, said_s)
        start_s = None if self.start_s is None else min(max(self.start_s, said_s), end_s)
        return replace(self, end_s=end_s, start_s=start_s)


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was spoken, in seconds from the utterance's first sample.

    In a transcript it is as it was emitted, its surrounding space included; to clients it is told
    `bare`.
    """

    text: str
    start_s: float
    end_s: float

    @property
    def bare(self) -> "Word":
        """The word without the space around it."""
        return replace(self, text=self.text.strip())

    @property
    def key(self) -> str:
        """What has to be equal for two words to be the same."""
        folded = unicodedata.normalize("NFKC", self.text).casefold()
        return "".join(letter for letter in folded if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Segment:
    """Words that are shown together."""

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
        return _line(self.words)

    @property
    def lines(self) -> list[str]:
        """The text in one line if that is short enough, else in two that are about as long."""
        if _width(self.text) <= LINE_WIDTH or len(self.words) == 1:
            return [self.text]
        halves = [
            [_line(self.words[:cut]), _line(self.words[cut:])] for cut in range(1, len(self.words))
        ]
        return min(halves, key=lambda lines: max(map(_width, lines)))


class Transcript:
    """Tokens in order; what was added is never changed."""

    def __init__(self) -> None:
        self._tokens: list[Token] = []

    def append(self, token: Token) -> None:
        """Add a token that carries text."""
        self._tokens.append(token)

    @property
    def text(self) -> str:
        """Everything said so far."""
        return "".join(token.text for token in self._tokens)

    @property
    def token_count(self) -> int:
        """How many tokens carry that text."""
        return len(self._tokens)

    @property
    def words(self) -> list[Word]:
        """The words of the text, which joined are the text."""
        return words_of(self._tokens)


def words_of(tokens: Iterable[Token]) -> list[Word]:
    """Tokens put together to words, in order of time and without overlap.

    A word begins with a token that begins with space, or after one that ends with it; in a
    script that has no spaces every token is one. What is no letter belongs to the word before.
    """
    words: list[Word] = []
    for token in tokens:
        if not token.text:
            continue
        last = words[-1] if words else Word("", 0.0, 0.0)
        end_s = max(token.end_s, last.end_s)
        if words and not _opens(last.text, token.text):
            start_s = last.start_s if last.text.strip() else _start_s(token, 0.0, end_s)
            words[-1] = Word(last.text + token.text, start_s, end_s)
        else:
            words.append(Word(token.text, _start_s(token, last.end_s, end_s), end_s))
    return words if words and words[0].text.strip() else []


def _opens(before: str, text: str) -> bool:
    if not before.strip() or not text.strip():
        return False
    is_parted = text[0].isspace() or before[-1].isspace()
    return is_parted or (is_unspaced(text[0]) and text[0].isalnum())


def _start_s(token: Token, earliest_s: float, end_s: float) -> float:
    start_s = end_s - WORD_S if token.start_s is None else token.start_s
    return min(max(start_s, earliest_s), end_s)


def is_unspaced(letter: str) -> bool:
    """Whether the letter is of a script without spaces between words."""
    name = unicodedata.name(letter, "")
    return name.startswith(("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC"))


def segments(words: Sequence[Word]) -> list[Segment]:
    """The words in order, cut at ends of sentences, in pauses, and where no more fits."""
    found: list[Segment] = []
    start = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or _parts(words[start:index], words[index]):
            found.append(Segment(tuple(words[start:index])))
            start = index
    return found


def _parts(words: Sequence[Word], following: Word) -> bool:
    """Whether a segment that has `words` ends before the word `following`."""
    last = words[-1].text.strip()
    if _SENTENCE_END.search(last) and not _ABBREVIATION.match(last):
        return True
    if following.start_s - words[-1].end_s > PAUSE_S:
        return True
    longer = Segment((*words, following))
    is_too_long = following.end_s - words[0].start_s > SEGMENT_S
    return is_too_long or max(map(_width, longer.lines)) > LINE_WIDTH


def _line(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _width(text: str) -> int:
    """Letters, of which Chinese, Japanese and Korean ones are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def verbose(words: Sequence[Word], duration_s: float) -> dict[str, Any]:
    """Text, words and segments as OpenAI's `verbose_json` has them; times in seconds."""
    return {
        "text": _line(words),
        "duration": _rounded(duration_s),
        "words": [
            {"word": _line([word]), "start": _rounded(word.start_s), "end": _rounded(word.end_s)}
            for word in words
        ],
        "segments": [
            {
                "id": index,
                "start": _rounded(segment.start_s),
                "end": _rounded(segment.end_s),
                "text": segment.text,
            }
            for index, segment in enumerate(segments(words))
        ],
    }


def srt(words: Sequence[Word]) -> str:
    """The words as a SubRip file; an arrow in the text gets short, for SRT cannot escape it."""
    found = segments(words)
    cues = _cues(found, mark=",")
    texts = [_ARROW.sub("->", "\n".join(segment.lines)) for segment in found]
    return "".join(
        f"{index}\n{cue}\n{text}\n\n"
        for index, (cue, text) in enumerate(zip(cues, texts, strict=True), 1)
    )


def vtt(words: Sequence[Word]) -> str:
    """The words as a WebVTT file."""
    found = segments(words)
    cues = _cues(found, mark=".")
    texts = [_escaped("\n".join(segment.lines)) for segment in found]
    return "WEBVTT\n\n" + "".join(
        f"{cue}\n{text}\n\n" for cue, text in zip(cues, texts, strict=True)
    )


def _cues(found: Sequence[Segment], *, mark: str) -> list[str]:
    """The line of times of each segment; WebVTT wants an end that is after the start."""
    bounds_ms = [round(1000 * segment.start_s) for segment in found]
    bounds_ms.append(sys.maxsize)  # nothing comes after the last
    cues = []
    for segment, start_ms, next_ms in zip(found, bounds_ms, bounds_ms[1:], strict=False):
        shown_ms = min(start_ms + round(1000 * SHOWN_S), next_ms)
        end_ms = max(round(1000 * segment.end_s), shown_ms, start_ms + 1)
        cues.append(f"{_clock(start_ms, mark)} --> {_clock(end_ms, mark)}")
    return cues


def _clock(ms: int, mark: str) -> str:
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
