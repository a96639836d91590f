"""The box's own certificate authority: what devices are told to trust, once.

It vouches for nothing but homes: its name constraints permit names that public DNS never has,
this machine's own names, and private addresses (terms.py).
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanscribe.identity import secret_files
from lanscribe.identity.names import label_of
from lanscribe.identity.public_suffixes import public_suffixes
from lanscribe.identity.terms import (
    AUTHORITY_LASTS,
    EARLIEST,
    PERMITTED_NETWORKS,
    PERMITTED_SUFFIXES,
)

CERTIFICATE_FILE = "authority.pem"
"""A copy of the certificate, for people and programs; devices may have it."""
KEY_FILE = "authority.key"
"""The key and the certificate: one file, so that no crash leaves one without the other."""
REMEDY = "put it back from a backup, or run bash serve.sh trust --new, and trust it on each device"
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates and keys that are damaged, or of unknown kinds."""
_ID = re.compile(r"\(([0-9a-f]{8})\)$")
"""At the end of the common name of an authority."""
_HOST_LETTERS = 40
"""A common name has at most 64 letters (RFC 5280), 24 of which are not the host's."""


class AuthorityError(Exception):
    """The authority cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def permitted_names(self) -> tuple[str, ...]:
        """The names that it may vouch for, and those below them."""
        found = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        permitted = found.permitted_subtrees or ()
        return tuple(one.value for one in permitted if isinstance(one, x509.DNSName))

    @property
    def begin(self) -> datetime:
        """Since when it is valid."""
        return self.certificate.not_valid_before_utc

    @property
    def end(self) -> datetime:
        """Until when it is valid."""
        return self.certificate.not_valid_after_utc


def make(names: Iterable[str], now: datetime) -> Authority:
    """A new authority, valid since before any box existed, whatever the clock says.

    names: this machine's own, the bare one first, as names.own_names finds them; public suffixes
    are left out.
    """
    own = list(names)
    key = ec.generate_private_key(ec.SECP256R1())
    host = label_of(own[0])[:_HOST_LETTERS] if own else "this machine"
    called = f"lanscribe on {host} ({secrets.token_hex(4)})"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(EARLIEST)
        .not_valid_after(max(now, EARLIEST) + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(is_authority=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_constraints(own), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return Authority(builder.sign(key, SHA256()), key)


def load(folder: Path) -> Authority | None:
    """The authority in a folder; None if there is none yet. Raises AuthorityError or OSError."""
    path = folder / KEY_FILE
    try:
        content = secret_files.read(path)
    except FileNotFoundError:
        if (folder / CERTIFICATE_FILE).exists():
            raise AuthorityError(f"{path} is missing; {REMEDY}") from None
        return None
    except PermissionError as error:
        why = "this user may not read it; change its owner or its mode"
        raise AuthorityError(f"{path}: {why}, or {REMEDY}") from error
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}; move it away, then {REMEDY}") from error
    return _parsed(path, content)


def _parsed(path: Path, content: bytes) -> Authority:
    try:
        key = load_pem_private_key(content, password=None)
        certificate = x509.load_pem_x509_certificate(content)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the key is not one of an elliptic curve")
        if certificate.public_key() != key.public_key():
            raise ValueError("the key is not that of the certificate")
        found = Authority(certificate, key)
        _ = found.permitted_names, found.begin, found.end
    except UnsupportedAlgorithm as error:
        raise AuthorityError(f"{path} has a key of an unknown kind: {error}; {REMEDY}") from error
    except UNREADABLE as error:
        raise AuthorityError(f"{path} is damaged; {REMEDY}") from error
    return found


def save(folder: Path, authority: Authority) -> None:
    """Keep an authority in place of an older one; who calls it holds the folder's lock."""
    key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = authority.certificate.public_bytes(Encoding.PEM)
    secret_files.replace(folder / KEY_FILE, key + certificate)
    secret_files.replace(folder / CERTIFICATE_FILE, certificate)


def mend_copy(folder: Path, authority: Authority) -> None:
    """Write the copy of the certificate again if a crash has left none, or that of another one."""
    path, expected = folder / CERTIFICATE_FILE, authority.certificate.public_bytes(Encoding.PEM)
    try:
        is_right = secret_files.read(path) == expected
    except OSError:
        is_right = False
    if not is_right:
        secret_files.replace(path, expected)


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate as devices show it: AB:CD:…"""
    return certificate.fingerprint(SHA256()).hex(":").upper()


def common_name(certificate: x509.Certificate) -> str:
    """The name under which devices list a certificate."""
    (name, *_) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def file_name(certificate: x509.Certificate) -> str:
    """What a device calls it, such as lanscribe-57f4f214: it may trust several boxes."""
    found = _ID.search(common_name(certificate))
    return f"lanscribe-{found[1] if found else certificate.fingerprint(SHA256()).hex()[:8]}"


def key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority signs certificates, a server its handshakes."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _constraints(own: Sequence[str]) -> x509.NameConstraints:
    public = public_suffixes(own)
    names = dict.fromkeys([*PERMITTED_SUFFIXES, *(name for name in own if name not in public)])
    permitted = [*map(x509.DNSName, names), *map(x509.IPAddress, PERMITTED_NETWORKS)]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
