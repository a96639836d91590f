"""The tokens of an endless session that its caller has not taken yet."""

from collections import deque

from lanscribe.speech.transcript import Token

MAX_WAITING_TOKENS = 256


class WaitingTokens:
    """Tokens in order. Each tells the tentative words anew, so one that tells nothing else is
    dropped when a later one comes before it is taken."""

    def __init__(self) -> None:
        self._tokens: deque[Token] = deque()
        self.tentative = ""
        """The tentative words that the newest token told."""

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def has_room(self) -> bool:
        """Whether another token may be added."""
        return len(self._tokens) < MAX_WAITING_TOKENS

    def append(self, token: Token) -> None:
        """Add the next token."""
        if self._tokens and self._tokens[-1].is_tentative:
            self._tokens.pop()
        self._tokens.append(token)
        self.tentative = token.tentative

    def take(self) -> Token:
        """The oldest token, which waits no longer."""
        return self._tokens.popleft()

    def clear(self) -> None:
        """Drop all."""
        self._tokens.clear()
