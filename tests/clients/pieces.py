"""What the tests of the clients do with pieces of a transcript."""

from collections.abc import Sequence

from clients.stitch import Said


def text_of(pieces: Sequence[Said]) -> str:
    """What they say."""
    return "".join(text for text, _, _ in pieces)
