"""What is wrong with a value of the settings, in words for people."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from lanscribe.config import Settings, documented_keys, is_secret

_EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "finite_number": "a number that is not infinite",
    "bool": "true or false",
    "string": "a text, in quotes",
    "tuple": "a list of texts",
    "model": "a table",
}
"""The beginning of a type of pydantic's errors -> what was expected."""
_OWN_WORDS = {
    "vllm.url": "http://HOST:PORT, or empty",
    "discovery.name": "one label of a name: up to 50 letters, digits and hyphens",
}
"""Settings whose rule is a pattern -> the pattern in words."""


def fault(name: str, error: Mapping[str, Any]) -> str:
    """One line: key, value, what is allowed. name: of the setting, as it was given.

    error: one of those of pydantic's ValidationError.
    """
    path = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        return f"{name}: no such setting; {_suggestion(path)}"
    got = "a value that is not shown" if is_secret(*path[:2]) else repr(error["input"])[:200]
    return f"{name}: got {got}; {_expected(error, '.'.join(path[:2]))}{_documentation(path)}"


def _expected(error: Mapping[str, Any], setting: str) -> str:
    kind, message = str(error["type"]), str(error["msg"])
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"it should be {_OWN_WORDS[setting]}"
    for beginning, words in _EXPECTED.items():
        if kind.startswith(beginning):
            return f"it should be {words}"
    return message.replace("Input should be", "it should be")


def _suggestion(path: Sequence[str]) -> str:
    if places := [f"[{table}]" for table, key, _ in documented_keys() if [key] == list(path)]:
        return f"it belongs below {' or '.join(places)}; docs/configuration.md lists them all"
    known = [f"{table}.{key}" for table, key, _ in documented_keys()]
    close = difflib.get_close_matches(".".join(path), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}docs/configuration.md lists them all"


def _documentation(path: Sequence[str]) -> str:
    texts = [text for table, key, text in documented_keys() if [table, key] == list(path[:2])]
    return f" ({texts[0].rstrip('.')})" if texts else ""


def conflicts(settings: Settings, origins: Mapping[str, str]) -> list[str]:
    """What is wrong with values that are right by themselves, one line each.

    origins: "table.key" -> the place and the name of the value, for those that were given.
    """
    target_s, limit_s = settings.rollover.target_s, settings.rollover.limit_s
    if target_s <= limit_s:
        return []
    target, limit = (origins.get(f"rollover.{key}", "") for key in ("target_s", "limit_s"))
    if not target:
        return [
            f"{limit}: got {limit_s:g}; it should be at least rollover.target_s, which is"
            f" {target_s:g} by default"
        ]
    return [
        f"{target}: got {target_s:g}; it should be at most rollover.limit_s, which is {limit_s:g}"
        f" ({limit or 'by default'})"
    ]
