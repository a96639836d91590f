"""What the TLS door shows."""

import ssl
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as others see it."""

    context: ssl.SSLContext
    authority: x509.Certificate | None
    """The box's own authority; None with a certificate of the owner's."""
    names: tuple[str, ...]
    """The names and addresses in it, the best address first."""
    wildcards: tuple[str, ...] = ()
    """Names in it that stand for many, such as *.example.org."""
    warning: str = ""
    """Why clients refuse it, though it is shown; "" if they have no reason."""
