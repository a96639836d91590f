"""A certificate of the owner's own: files that are named in the settings, or renewed by ACME."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from lanscribe import PROJECT_DIR
from lanscribe.config import TlsSettings
from lanscribe.errors import ConfigError
from lanscribe.identity import secret_files
from lanscribe.identity.authority import UNREADABLE
from lanscribe.identity.leaf import new_context, subjects_of
from lanscribe.identity.shown import Shown
from lanscribe.identity.terms import best_first

Marks = tuple[tuple[int, int, int] | None, ...]


class OwnCertificate:
    """Reads tls.cert and tls.key, again whenever they change."""

    def __init__(self, settings: TlsSettings, hostnames: Sequence[str] = ()) -> None:
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
        self._marks: Marks = ()
        self._shown = self.look()

    def look(self) -> Shown:
        """What to show now. Raises ConfigError if the files have changed and will not do."""
        files = (self._settings.cert, self._settings.key)
        marks: Marks = tuple(secret_files.mark(PROJECT_DIR / file) for file in files)
        if marks != self._marks:
            self._shown = self._read()
            self._marks = marks
        return self._shown

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
        return Shown(context, None, _names(PROJECT_DIR / cert, self._hostnames))


def _names(path: Path, hostnames: Sequence[str]) -> tuple[str, ...]:
    """The names and addresses of a certificate, and the hostnames that its wildcards cover."""
    try:
        certificate = x509.load_pem_x509_certificate(secret_files.read(path))
        subjects = subjects_of(certificate)
    except (OSError, *UNREADABLE):
        return ()
    found = best_first(subjects, subjects.names)
    covered = [name for name in hostnames if f"*.{name.partition('.')[2]}" in subjects.names]
    return (*(name for name in found if not name.startswith("*")), *covered)


def _check_readable(name: str, file: str) -> None:
    try:
        secret_files.read(PROJECT_DIR / file)
    except OSError as error:
        raise ConfigError(f"tls.{name}: {file} cannot be read: {error.strerror}") from error
