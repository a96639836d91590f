"""The certificate that the server shows: made by the box's own authority, renewed by itself."""

import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanscribe.identity import secret_files
from lanscribe.identity.authority import UNREADABLE, Authority, key_usage
from lanscribe.identity.names import label_of
from lanscribe.identity.terms import Period, Subjects, leaf_period

FILE = "leaf.pem"
"""The certificate and its key: one file, so that a pair never differs."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate and the context that shows it."""

    certificate: x509.Certificate
    context: ssl.SSLContext

    @property
    def subjects(self) -> Subjects:
        """For what it is."""
        return subjects_of(self.certificate)

    @property
    def period(self) -> Period:
        """When it is valid."""
        found = self.certificate
        return Period(found.not_valid_before_utc, found.not_valid_after_utc)

    def is_of(self, authority: Authority) -> bool:
        """Whether this authority has signed it."""
        try:
            self.certificate.verify_directly_issued_by(authority.certificate)
        except (InvalidSignature, *UNREADABLE):
            return False
        return True


def subjects_of(certificate: x509.Certificate) -> Subjects:
    """The names and addresses of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Subjects((), ())
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return Subjects(tuple(found.get_values_for_type(x509.DNSName)), tuple(addresses))


def issue(authority: Authority, subjects: Subjects, hostname: str, now: datetime) -> bytes:
    """A new certificate and its key, PEM. hostname: this machine's."""
    key = ec.generate_private_key(ec.SECP256R1())
    period = leaf_period(now, authority.end)
    common_name = label_of(hostname) or "lanscribe"
    public, signer = key.public_key(), authority.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period.begin)
        .not_valid_after(period.end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(subjects), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    certificate = builder.sign(authority.key, SHA256())
    return certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def load(folder: Path) -> Leaf | None:
    """The leaf in a folder; None if it is absent or damaged, since another is made at once."""
    path = folder / FILE
    try:
        certificate = x509.load_pem_x509_certificate(secret_files.read(path))
        found = Leaf(certificate, new_context(path, path))
        _ = found.subjects, found.period
    except (OSError, *UNREADABLE):  # ssl.SSLError is an OSError
        return None
    return found


def save(folder: Path, content: bytes) -> None:
    """Keep a leaf in place of an older one; who calls it holds the folder's lock."""
    secret_files.replace(folder / FILE, content)


def new_context(cert: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    """A server's context with a certificate. Raises OSError, ssl.SSLError or ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key, password=_no_password)
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _alternatives(subjects: Subjects) -> x509.SubjectAlternativeName:
    names = map(x509.DNSName, subjects.names)
    addresses = (x509.IPAddress(ip_address(one)) for one in subjects.addresses)
    return x509.SubjectAlternativeName([*names, *addresses])
