"""Tells the words that may still change, with the tokens of one stream. No sound and no clock."""

from collections.abc import Sequence
from dataclasses import replace

from lanscribe.speech.transcript import Token


class Tentative:
    """Remembers what was told last, so that a token of its own tells changes only."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, tokens: Sequence[Token], text: str, now: Token) -> list[Token]:
        """The tokens, each with the words after it that came at the same time or may still change.

        text: the words after all tokens that may still change.
        now: a token without text for the end of the sound; it tells them if no other does.
        """
        if not tokens and text == self._told:
            return []
        self._told = text
        told = []
        for token in reversed(tokens or [replace(now, is_tentative=True)]):
            told.append(replace(token, tentative=text))
            text = token.text + text
        return told[::-1]
