"""Reads the fields of JSON messages; anything unexpected raises a ProtocolError."""

import binascii
import json
from collections.abc import Mapping
from typing import Any

from lanscribe.dialects.events import Message
from lanscribe.errors import ProtocolError
from lanscribe.speech.audio import SAMPLE_RATE_HZ
from lanscribe.speech.pcm import PcmDecoder

Fields = Mapping[str, Any]
"""A JSON object."""
_MAX_INTEGER = 2**53
_MAX_PARTS = 1000
"""In the arrays and objects of a message. A message of 16 MiB carries audio, which is one part;
parsing as many bytes of empty objects takes two seconds, in which nobody else is served."""
_PART_MARKS = ",[{"
_SPACE = b" \t\n\r\v\f"
_COMMON_ALPHABET = bytes.maketrans(b"-_", b"+/")
"""From the alphabet for URLs to the common one (RFC 4648, sections 5 and 4)."""
_MOST_PADDING = 2


def decode_object(message: Message, example: str) -> Fields:
    """A text frame as a JSON object such as `example`. Raises ProtocolError."""
    if isinstance(message, bytes):
        raise ProtocolError(
            "invalid_event",
            f"got a binary frame; expected a JSON object in a text frame: {example}",
        )
    try:
        value = parsed(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            "invalid_json", f"got a text frame that is not JSON: {error}; expected {example}"
        ) from error
    if not isinstance(value, dict):
        raise ProtocolError("invalid_event", f"got {kind(value)}; expected {example}")
    return value


def parsed(message: str | bytes, most_parts: int = _MAX_PARTS) -> Any:
    """The value of a JSON text.

    Raises ProtocolError if it has too many parts, ValueError or RecursionError if it is not JSON.
    """
    if isinstance(message, str):
        count = sum(map(message.count, _PART_MARKS))
    else:
        count = sum(map(message.count, _PART_MARKS.encode()))
    if count > most_parts:
        raise ProtocolError(
            "invalid_event",
            f"got a message of {count} parts, counted by its commas and brackets; expected"
            f" {most_parts} or fewer",
        )
    return json.loads(message)


def text(fields: Fields, name: str, default: str | None = None, *, longest: int = 0) -> str:
    """A text field, of at most `longest` characters unless that is 0.

    If it is absent or null: `default`, if there is one. Raises ProtocolError.
    """
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise _unexpected(fields, name, "a string")
    if longest and len(value) > longest:
        raise ProtocolError(
            "invalid_event",
            f"got {len(value)} characters in the field {name!r}; expected {longest} or fewer",
        )
    return value


def flag(fields: Fields, name: str) -> bool:
    """A field that is true or false; false if absent or null. Raises ProtocolError."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _unexpected(fields, name, "true or false")
    return value


def integer(fields: Fields, name: str) -> int:
    """A whole number that every JSON library can hold (RFC 8259, section 6).

    Raises ProtocolError.
    """
    value = whole_number(fields.get(name))
    if value is None:
        raise _unexpected(fields, name, "a whole number")
    if abs(value) >= _MAX_INTEGER:
        raise _unexpected(fields, name, "one below 2^53")
    return value


def whole_number(value: object) -> int | None:
    """A value as a whole number, 16000.0 too, as some languages write it; None if it is none."""
    found = any_number(value)
    if isinstance(found, float):
        return int(found) if found.is_integer() else None
    return found


def any_number(value: object) -> float | int | None:
    """A value as a number, which a boolean is not; None if it is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def inner(fields: Fields, name: str) -> Fields:
    """A nested object; empty if absent or null. Raises ProtocolError."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _unexpected(fields, name, "an object")
    return value


def base64_bytes(text: str) -> bytes:
    """Decode base64: of either alphabet, padded or not, in lines, as a data URL (RFC 2397).

    Raises ProtocolError.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass  # perhaps it is one of the other forms; to find out takes as long again
    try:
        return binascii.a2b_base64(_common_base64(text), strict_mode=True)
    except ValueError as error:
        raise ProtocolError(
            "invalid_audio", f"the audio is not base64: {error}; expected base64 of raw PCM"
        ) from error


def _common_base64(text: str) -> bytes:
    """Base64 of any form in the common one. Raises ValueError."""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("got a data URL without ';base64,'")
    packed = text.encode("ascii").translate(_COMMON_ALPHABET, _SPACE)
    bare = packed.rstrip(b"=")
    if len(packed) - len(bare) > _MOST_PADDING:
        raise ValueError("got too much padding")
    return bare + b"=" * (-len(bare) % 4)


def pcm16_decoder() -> PcmDecoder:
    """A decoder for 16-bit little-endian PCM, 16 kHz, mono."""
    return PcmDecoder("pcm_s16le", SAMPLE_RATE_HZ)


def not_empty(audio: bytes) -> bytes:
    """The bytes of a message that has to have audio. Raises ProtocolError."""
    if not audio:
        raise ProtocolError(
            "invalid_audio",
            "got no audio bytes; expected 16-bit little-endian PCM, 16 kHz, mono",
        )
    return audio


def unknown(event_type: str, expected: str) -> ProtocolError:
    """The error for a message of a type that the protocol does not have."""
    return ProtocolError(
        "unknown_event", f"got a message of type {event_type[:200]!r}; expected {expected}"
    )


def kind(value: object) -> str:
    """The kind of a JSON value, in words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _unexpected(fields: Fields, name: str, expected: str) -> ProtocolError:
    if name not in fields:
        return ProtocolError("invalid_event", f"the field {name!r} is missing; expected {expected}")
    got = kind(fields[name])
    return ProtocolError("invalid_event", f"got {got} as {name!r}; expected {expected}")
