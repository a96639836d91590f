"""An authority of a box, with the name constraints of one."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("local", "lan", "home.arpa", "internal", "localdomain", "localhost")
NETWORKS = (
    *("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("100.64.0.0/10", "fc00::/7", "fe80::/10"),
)


@dataclass(frozen=True)
class Authority:
    """The certificate of an authority, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make(names: Iterable[str]) -> Authority:
    """A new authority for the names of a box, names of home networks and private addresses."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lanscribe on box")])
    usage = {
        **dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment"), False),
        **dict.fromkeys(("data_encipherment", "key_agreement"), False),
        **dict.fromkeys(("encipher_only", "decipher_only"), False),
        **dict.fromkeys(("key_cert_sign", "crl_sign"), True),
    }
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in [*NAMES, *names]]
    permitted += [x509.IPAddress(ipaddress.ip_network(network)) for network in NETWORKS]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)
