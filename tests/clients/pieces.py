"""What the tests of the clients do with pieces of a transcript."""

from collections.abc import Sequence

from clients.stitch import Piece


def text_of(pieces: Sequence[Piece]) -> str:
    """What they say."""
    return "".join(text for text, _, _ in pieces)
