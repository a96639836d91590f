"""The text of one utterance, with times, as it grows."""

from lanscribe.engines.base import Token


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
