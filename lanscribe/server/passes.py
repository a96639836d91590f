"""Passes: what a browser has after it has signed in. Decisions, with the time as an argument.

A pass is a random id and the time of its end, signed; nothing of it is kept. It is valid as long
as the secret that has signed it is, which changes with the key and when all are to sign out.
"""

import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterable

COOKIE = "__Host-lanscribe"
"""The prefix has browsers insist on Secure, on Path=/, and on this host alone (RFC 6265bis)."""
LIFETIME_S = 90 * 86_400
_ID_BYTES = 16
_BODY = struct.Struct(f">{_ID_BYTES}sQ")
_SIGNATURE_BYTES = hashlib.sha256().digest_size
_LETTERS = -(-(_BODY.size + _SIGNATURE_BYTES) * 4 // 3)
"""The length of a pass in base64url, without padding."""


def signing_secret(key: str, random: str) -> bytes:
    """The secret that signs passes: it changes when the key does, and when `random` does."""
    return hmac.digest(random.encode(), key.encode(), "sha256")


def make(secret: bytes, now_s: float) -> str:
    """A new pass. now_s: seconds since 1970."""
    body = _BODY.pack(secrets.token_bytes(_ID_BYTES), int(now_s) + LIFETIME_S)
    signed = body + hmac.digest(secret, body, "sha256")
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def is_valid(text: str, secret: bytes, now_s: float) -> bool:
    """Whether `text` is a pass that this secret has signed and whose time is not over."""
    if len(text) != _LETTERS or not text.isascii():
        return False
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        return False
    body, signature = signed[: _BODY.size], signed[_BODY.size :]
    if not hmac.compare_digest(signature, hmac.digest(secret, body, "sha256")):
        return False
    _, until_s = _BODY.unpack(body)
    return bool(now_s < until_s)


def shown(cookie_headers: Iterable[str]) -> list[str]:
    """The passes in the Cookie headers of a request."""
    pairs = (one.partition("=") for header in cookie_headers for one in header.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == COOKIE]
