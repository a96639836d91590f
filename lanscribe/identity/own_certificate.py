"""A certificate of the owner's own: files that are named in the settings, or renewed by ACME."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from lanscribe import PROJECT_DIR
from lanscribe.config import TlsSettings
from lanscribe.errors import ConfigError
from lanscribe.identity import secret_files
from lanscribe.identity.authority import UNREADABLE
from lanscribe.identity.leaf import new_context, subjects_of
from lanscribe.identity.shown import Shown
from lanscribe.identity.terms import Subjects, best_first

Marks = tuple[secret_files.Mark | None, ...]


class OwnCertificate:
    """Reads tls.cert and tls.key, again whenever they change."""

    def __init__(
        self,
        settings: TlsSettings,
        hostnames: Sequence[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises ConfigError if one of the two is not named, or the files will not do.

        hostnames: names of this machine that a wildcard in the certificate may stand for.
        """
        if not settings.cert or not settings.key:
            lacking = "cert" if not settings.cert else "key"
            raise ConfigError(
                f"tls.{lacking}: is empty; a certificate of your own needs both tls.cert and"
                " tls.key"
            )
        self._settings = settings
        self._hostnames = hostnames
        self._clock = clock
        self._certificate: x509.Certificate | None = None
        self._marks: Marks = ()
        self._shown = self.look()

    def look(self) -> Shown:
        """What to show now. Raises ConfigError if the files have changed and will not do."""
        files = (self._settings.cert, self._settings.key)
        marks: Marks = tuple(secret_files.mark(PROJECT_DIR / file) for file in files)
        if marks != self._marks:
            self._shown = self._read()
            self._marks = marks
        if (warning := self._warning()) != self._shown.warning:
            self._shown = replace(self._shown, warning=warning)
        return self._shown

    def _warning(self) -> str:
        if self._certificate is None:
            return ""
        begin = self._certificate.not_valid_before_utc
        end = self._certificate.not_valid_after_utc
        which = f"tls.cert: {self._settings.cert}: clients refuse it:"
        if self._clock() > end:
            return f"{which} it ended on {end:%Y-%m-%d}; renew that file, no restart is needed"
        if self._clock() < begin:
            return (
                f"{which} it is valid only from {begin:%Y-%m-%d} on; is the clock of this machine"
                " right?"
            )
        return ""

    def _read(self) -> Shown:
        cert, key = self._settings.cert, self._settings.key
        for name, file in (("cert", cert), ("key", key)):
            _check_readable(name, file)
        try:
            context = new_context(PROJECT_DIR / cert, PROJECT_DIR / key)
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise ConfigError(
                f"tls.cert, tls.key: {cert} and {key} are not a certificate and its key: {why};"
                " both have to be PEM, the key without a passphrase"
            ) from error
        self._certificate = _first_in(PROJECT_DIR / cert)
        subjects = _subjects_of(self._certificate)
        wildcards = tuple(name for name in subjects.names if name.startswith("*"))
        return Shown(context, None, _names(subjects, self._hostnames), wildcards)


def _first_in(path: Path) -> x509.Certificate | None:
    """The certificate in a file, before those of its chain; None if it is unusual."""
    try:
        return x509.load_pem_x509_certificate(secret_files.read(path))
    except (OSError, *UNREADABLE):
        return None


def _subjects_of(certificate: x509.Certificate | None) -> Subjects:
    try:
        return subjects_of(certificate) if certificate else Subjects((), ())
    except UNREADABLE:
        return Subjects((), ())


def _names(subjects: Subjects, hostnames: Sequence[str]) -> tuple[str, ...]:
    """The names and addresses of a certificate, and the hostnames that its wildcards cover."""
    found = best_first(subjects, subjects.names)
    covered = [name for name in hostnames if f"*.{name.partition('.')[2]}" in subjects.names]
    return (*(name for name in found if not name.startswith("*")), *covered)


def _check_readable(name: str, file: str) -> None:
    try:
        secret_files.read(PROJECT_DIR / file)
    except OSError as error:
        raise ConfigError(f"tls.{name}: {file} cannot be read: {error.strerror}") from error
