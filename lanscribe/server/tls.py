"""The certificate and key for serving over TLS."""

import ssl

from lanscribe import PROJECT_DIR
from lanscribe.config import TlsSettings
from lanscribe.errors import ConfigError


def server_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """The server's TLS context; None without TLS. Raises ConfigError for unusable files."""
    if not settings.cert and not settings.key:
        return None
    if not settings.cert or not settings.key:
        lacking = "key" if settings.cert else "cert"
        raise ConfigError(f"tls.{lacking}: is empty; TLS needs both tls.cert and tls.key")
    for name, file in (("cert", settings.cert), ("key", settings.key)):
        _check_readable(name, file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(
            PROJECT_DIR / settings.cert, PROJECT_DIR / settings.key, password=_no_password
        )
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise ConfigError(
            f"tls.cert, tls.key: {settings.cert} and {settings.key} are not a certificate and its"
            f" key: {why}; both have to be PEM, the key without a passphrase"
        ) from error
    return context


def _check_readable(name: str, file: str) -> None:
    try:
        (PROJECT_DIR / file).read_bytes()
    except OSError as error:
        raise ConfigError(f"tls.{name}: {file} cannot be read: {error.strerror}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
