"""Joins two engine sessions' texts of the same speech, without losing or doubling a word.

A successor listens again to the last seconds before the seam. Its words are held back until
it is past the seam. Then the longest run of equal words at about the same time shows which were
said already; if no words are equal, time alone does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lanscribe.speech.captions import Word, is_unspaced
from lanscribe.speech.transcript import Token, words_of

RUN_TOLERANCE_S = 0.6
"""How far apart two engine sessions may time the same word, in a run of several."""
SINGLE_TOLERANCE_S = 0.3
"""The same for a word that matches alone."""
LOOSE_TOLERANCE_S = 1.5
"""The same for a run of several if no words are equal at about the same time. A successor hears
the seam's words again, so equal words that it has at no other time are the ones already said."""
WORD_WORTH_S = 0.25
"""A run that is one word longer is better even if it is this much further off in time."""
TIE_S = 0.15
"""Two words that end within this of each other are the same word heard differently."""
PAST_SEAM_S = 1.0
"""A successor is past the seam when one of its words ends this much later than the words said."""
SETTLED_PAST_S = RUN_TOLERANCE_S
"""It is also past the seam when its text is complete this much further: it has then written its
own version of all that was said."""


@dataclass(frozen=True, slots=True)
class _Run:
    said: int
    heard: int
    length: int
    distance_s: float

    def is_one(self, *, is_loose: bool) -> bool:
        """Whether its words are near enough in time to be the same words."""
        if self.length < 2:
            return self.length == 1 and not is_loose and self.distance_s <= SINGLE_TOLERANCE_S
        return self.distance_s <= (LOOSE_TOLERANCE_S if is_loose else RUN_TOLERANCE_S)


class LastWord:
    """Holds back the last word that an engine session wrote after a cut in speech: it may be half
    a word. Its time does not tell: it may be stamped long before the cut."""

    def __init__(self) -> None:
        self._held: list[Token] = []

    def add(self, token: Token) -> list[Token]:
        """Take the next token; returns the tokens that surely do not belong to the last word."""
        if not token.text:
            return [token]
        if not _begins_word(token.text):
            self._held.append(token)
            return []
        released, self._held = self._held, [token]
        return released

    def whole(self, before_s: float) -> list[Token]:
        """Release the word after all if it ended by before_s: that early, it is no half word."""
        if not self._held or self._held[-1].end_s > before_s:
            return []
        released, self._held = self._held, []
        return released

    @property
    def start_s(self) -> float:
        """Where the held word begins; infinity if there is none."""
        return self._held[0].begin_s if self._held else math.inf


class Seam:
    """Holds back a successor's tokens until it is past the seam, then releases the new ones.

    said: the words before the seam that the successor hears again; may be none.
    needs_space: whether there is text before the seam, so that a space must separate the two.
    """

    def __init__(self, said: Sequence[Word], *, needs_space: bool) -> None:
        self._said = said
        self._needs_space = needs_space
        self._held: list[Token] = []
        self._is_open = not said

    def add(self, token: Token) -> list[Token]:
        """Take the successor's next token; returns the tokens to emit now."""
        if self._is_open:
            return [self._spaced(token)]
        if self._is_past(token):
            return [*self.close(), self._spaced(token)]
        if not token.text:
            said_s = self._said[-1].end_s
            held = replace(token.settled_by(said_s), tentative="")
            return [held] if token.end_s > said_s else []
        self._held.append(token)
        return []

    def close(self) -> list[Token]:
        """The successor is past the seam, or at its end; returns the tokens to emit."""
        if self._is_open:
            return []
        completion, words = new_words(self._said, words_of(self._held))
        self._is_open = True
        self._held = []
        rest = [self._spaced(_token(word)) for word in words]
        return [_token(completion), *rest] if completion else rest

    def tentative(self, token: Token) -> str:
        """The token's tentative words as they follow the text; none before the seam is past."""
        if not self._is_open:
            return ""
        return _apart(token.tentative) if self._needs_space and not token.text else token.tentative

    def _is_past(self, token: Token) -> bool:
        """Judged by a word, or by how far the text is complete; an engine listens further."""
        said_s = self._said[-1].end_s
        if _begins_word(token.text):
            return token.end_s > said_s + PAST_SEAM_S
        return not token.text and token.known_s >= said_s + SETTLED_PAST_S

    def _spaced(self, token: Token) -> Token:
        """The token; the first one with text gets a space between it and the text before."""
        if not self._needs_space:
            return token
        if not token.text:
            return replace(token, tentative=_apart(token.tentative))
        self._needs_space = False
        return replace(token, text=_apart(token.text))


def _apart(text: str) -> str:
    """The text, with a space before it if it is half of a word after other text."""
    return f" {text}" if text and not _begins_word(text) else text


def _begins_word(text: str) -> bool:
    return bool(text) and (text[0].isspace() or is_unspaced(text[0]))


def _token(word: Word) -> Token:
    return Token(word.text, word.end_s, start_s=word.start_s)


def new_words(said: Sequence[Word], heard: Sequence[Word]) -> tuple[Word | None, list[Word]]:
    """What `heard` adds to `said`: the rest of a half-said word, if any, and the new words.

    said: the words before the seam, as far back as the successor listens; at least one.
    heard: the successor's words, over the same time.
    """
    run = _best_run(said, heard) or _best_run(said, heard, is_loose=True)
    if run is None:
        return None, _after(heard, said[-1].end_s)
    rest = heard[run.heard + run.length :]
    if run.said + run.length < len(said):
        return None, _after(rest, said[-1].end_s)
    return _completion(said[-1], heard[run.heard + run.length - 1]), list(rest)


def _after(words: Sequence[Word], end_s: float) -> list[Word]:
    return [word for word in words if word.end_s > end_s + TIE_S]


def _completion(said: Word, heard: Word) -> Word | None:
    if len(heard.key) <= len(said.key):
        return None
    start_s = min(max(said.end_s, heard.start_s), heard.end_s)
    return Word(heard.text.strip()[len(said.text.strip()) :], start_s, heard.end_s)


def _best_run(
    said: Sequence[Word], heard: Sequence[Word], *, is_loose: bool = False
) -> _Run | None:
    """The run of equal words that is longest and closest in time."""
    runs = [
        run
        for start in range(len(said))
        for other in range(len(heard))
        if (run := _run_at(said, heard, start, other)).is_one(is_loose=is_loose)
    ]
    return max(runs, key=lambda run: run.length - run.distance_s / WORD_WORTH_S, default=None)


def _run_at(said: Sequence[Word], heard: Sequence[Word], start: int, other: int) -> _Run:
    length = 0
    distance_s = 0.0
    while start + length < len(said) and other + length < len(heard):
        one, two = said[start + length], heard[other + length]
        is_last = start + length == len(said) - 1
        if not _is_same(one, two, may_be_half=is_last):
            break
        distance_s = max(distance_s, abs(one.end_s - two.end_s))
        length += 1
    return _Run(start, other, length, distance_s)


def _is_same(said: Word, heard: Word, *, may_be_half: bool) -> bool:
    if may_be_half and said.key and heard.text.strip().startswith(said.text.strip()):
        return True
    return bool(said.key) and said.key == heard.key
