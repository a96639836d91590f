"""Words in the form that measurements compare."""

import re


def plain_words(text: str) -> list[str]:
    """Lower-case words of letters, with titles written out."""
    spelled = text.lower().replace("mr.", "mister").replace("mrs.", "missus")
    words = (re.sub(r"[^a-z']", "", word) for word in spelled.split())
    return [word for word in words if word]
