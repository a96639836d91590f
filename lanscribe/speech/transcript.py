"""The text of one utterance, with times, as it grows."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace

from lanscribe.speech.captions import Word, add_word


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text to append, with its place in the audio.

    text: what to append, including its leading space; "" reports progress only.
    end_s: seconds from the first sample fed. For a word, where it ended; for a token without
    text, how far the engine has listened.
    start_s: for text, where it began; None if the engine cannot tell, or without text.
    is_lost: the audio from start_s to end_s was passed over and not transcribed; text is "".
    settled_s: for a token without text, how far the text is complete: no word that ends before it
    will follow. An engine listens further than it has written. None: as far as end_s.
    tentative: the words after all text so far, this token's included, that may still change; each
    token tells them anew, with the space that they would be appended with. "": none, or an engine
    that tells none. They are no part of the text.
    is_tentative: nothing is told but the tentative words; text is "", and the times mean nothing.
    Only a client that asked for them needs such a token.
    """

    text: str
    end_s: float
    _: KW_ONLY
    start_s: float | None = None
    is_lost: bool = False
    settled_s: float | None = None
    tentative: str = ""
    is_tentative: bool = False

    def later(self, by_s: float) -> "Token":
        """The token, with its times moved later by by_s."""
        if not by_s:
            return self
        start_s = None if self.start_s is None else self.start_s + by_s
        settled_s = None if self.settled_s is None else self.settled_s + by_s
        return replace(self, end_s=self.end_s + by_s, start_s=start_s, settled_s=settled_s)

    def settled_by(self, most_s: float) -> "Token":
        """The token, with text complete no further than `most_s`."""
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
        if (start_s, end_s) == (self.start_s, self.end_s):
            return self
        return replace(self, end_s=end_s, start_s=start_s)


class Transcript:
    """Tokens in order; an added token never changes."""

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
        """How many tokens carry the text."""
        return len(self._tokens)

    @property
    def words(self) -> list[Word]:
        """The words of the text; joined, they are the text."""
        return words_of(self._tokens)


def words_of(tokens: Iterable[Token]) -> list[Word]:
    """Join tokens into words, in order of time and without overlap."""
    words: list[Word] = []
    for token in tokens:
        if token.text:
            add_word(words, token.text, token.start_s, token.end_s)
    return words if words and words[0].text.strip() else []
