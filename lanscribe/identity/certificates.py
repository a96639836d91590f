"""The certificates of the TLS door, kept up to date while the server runs."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from cryptography import x509

from lanscribe import PROJECT_DIR
from lanscribe.config import Settings, TlsSettings
from lanscribe.errors import ConfigError
from lanscribe.identity import authority as authorities
from lanscribe.identity import box_certificate, secret_files
from lanscribe.identity.authority import UNREADABLE, AuthorityError, fingerprint
from lanscribe.identity.box_certificate import BoxCertificate
from lanscribe.identity.own_certificate import OwnCertificate
from lanscribe.identity.shown import Shown
from lanscribe.tasks import end

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
"""How often the names, the addresses, the clock and the files are looked at."""


class Certificates:
    """What the TLS door shows. A running connection keeps the certificate that it began with."""

    def __init__(self, look: Callable[[], Shown], *, is_owners: bool = False) -> None:
        """look: finds what to show now; raises AuthorityError, ConfigError or OSError.

        is_owners: whether the owner has made them, not this box.
        """
        self.is_owners = is_owners
        self._look = look
        self._shown: Shown | None = None
        self._warning = ""
        self.trouble = ""
        """Why the last look failed; "" if it did not. What was shown before is shown on."""

    def look(self) -> None:
        """Look once: make, renew or read again what has to be. Never raises for one bad look."""
        trouble = ""
        try:
            self._shown = self._look()
        except (AuthorityError, OSError, *UNREADABLE) as error:
            trouble = secret_files.told(error)
        except ConfigError as error:
            trouble = error.public_message
        if trouble and trouble != self.trouble:
            log.warning("%s: %s", "the certificate stays" if self._shown else "no TLS", trouble)
        if self.trouble and not trouble:
            log.info("the certificate is right again: https is on")
        self.trouble = trouble
        warning = self._shown.warning if self._shown else ""
        if warning and warning != self._warning:
            log.warning("%s", warning)
        self._warning = warning

    async def follow(self, look_every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(look_every_s)
            await asyncio.to_thread(self.look)

    def context(self) -> ssl.SSLContext | None:
        """The context for a new connection; None as long as there is no certificate."""
        return self._shown.context if self._shown else None

    @property
    def authority(self) -> x509.Certificate | None:
        """The box's own authority; None with certificates of the owner's."""
        return self._shown.authority if self._shown else None

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the authority, AB:CD:…; "" without one."""
        return fingerprint(self.authority) if self.authority else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses in the certificate that is shown now, the best address first."""
        return self._shown.names if self._shown else ()

    @property
    def why_nameless(self) -> str:
        """Why no name is known though a certificate is shown; "" if one is, or none is shown."""
        if self._shown is None or self._shown.names:
            return ""
        has = ", ".join(self._shown.wildcards) or "no name"
        return f"the certificate in tls.cert has {has}; name this box in auth.hostnames"


@asynccontextmanager
async def followed(
    certificates: Certificates | None, look_every_s: float = LOOK_EVERY_S
) -> AsyncIterator[None]:
    """Keep certificates up to date until the context ends; None are none."""
    following = [asyncio.create_task(one.follow(look_every_s)) for one in [certificates] if one]
    try:
        yield
    finally:
        if following:
            await end(*following)


def key_file(settings: Settings) -> Path:
    """The file of the private key that has to be secret: the owner's, or the authority's."""
    if is_own(settings.tls):
        return PROJECT_DIR / settings.tls.key
    return box_certificate.folder(settings) / authorities.KEY_FILE


def is_own(tls: TlsSettings) -> bool:
    """Whether the settings ask for a certificate of the owner's."""
    return tls.mode == "own" or (tls.mode == "auto" and bool(tls.cert or tls.key))


def of(settings: Settings) -> Certificates | None:
    """The certificates that the settings ask for; None without TLS. Makes no files.

    Raises ConfigError for files of the owner's that will not do.
    """
    tls = settings.tls
    if tls.mode == "off":
        return None
    if is_own(tls):
        return Certificates(OwnCertificate(tls, settings.auth.hostnames).look, is_owners=True)
    find = partial(box_certificate.this_machine, settings)
    return Certificates(BoxCertificate(box_certificate.folder(settings), find).look)
