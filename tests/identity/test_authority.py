import os
import stat
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanscribe.identity import authority as authorities
from lanscribe.identity import leaf as leaves
from lanscribe.identity import secret_files
from lanscribe.identity.authority import Authority, AuthorityError
from lanscribe.identity.names import own_names
from lanscribe.identity.terms import (
    AUTHORITY_LASTS,
    EARLIEST,
    PERMITTED_NETWORKS,
    Subjects,
    is_permitted,
)
from tests.identity.boxes import NOW, ODD_FILES, put_odd_file, verified, verify_flag

OWN = own_names("nas", ["corp.example"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return authorities.make(OWN, NOW)


@pytest.fixture(scope="module")
def place(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    authorities.save(folder, authority)
    return folder


def judged(place: Path, authority: Authority, subject: str) -> str:
    """What openssl says of a leaf for one name or address that this authority has signed."""
    flag, _ = verify_flag(subject)
    is_address = flag == "-verify_ip"
    subjects = Subjects((), (subject,)) if is_address else Subjects((subject,), ())
    leaf = place / "one.pem"
    leaf.write_bytes(leaves.issue(authority, subjects, "nas", NOW))
    return verified(place / authorities.CERTIFICATE_FILE, leaf, NOW, flag, subject)


HOME_ADDRESSES = "10.1.2.3 172.16.0.1 192.168.255.254 100.64.0.1 127.0.0.1 ::1 fd12::1 fe80::1"
FOREIGN_NAMES = "example.com evil-lan evil-nas nas.evil.com fritz.box corp.example other"
FOREIGN_ADDRESSES = "8.8.8.8 172.32.0.1 100.128.0.1 11.0.0.1 2001:db8::1 ::2"


@pytest.mark.parametrize("subject", [*OWN, "localhost", "lanscribe.local", *HOME_ADDRESSES.split()])
def test_openssl_accepts_what_a_home_has(place: Path, authority: Authority, subject: str) -> None:
    assert judged(place, authority, subject) == ""


@pytest.mark.parametrize("subject", [*FOREIGN_NAMES.split(), *FOREIGN_ADDRESSES.split()])
def test_openssl_refuses_all_else(place: Path, authority: Authority, subject: str) -> None:
    assert "permitted subtree violation" in judged(place, authority, subject)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
ENDS = st.sampled_from(["", ".local", ".lan", ".fritz.box", ".com", ".home.arpa", ".nas", "-lan"])
SUBJECTS = st.one_of(
    st.builds(lambda label, end: label + end, LABELS | st.just("nas"), ENDS),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    *(st.ip_addresses(network=network).map(str) for network in PERMITTED_NETWORKS),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(subject=SUBJECTS.filter(lambda one: not one.isdecimal() and "%" not in one))
def test_openssl_and_the_terms_agree_on_any_name_and_address(
    place: Path, authority: Authority, subject: str
) -> None:
    if verify_flag(subject)[0] == "-verify_ip":
        address = ip_address(subject)
        is_allowed = any(address in network for network in PERMITTED_NETWORKS)
    else:
        is_allowed = is_permitted(subject, authority.permitted_names)
    assert (judged(place, authority, subject) == "") is is_allowed


def test_an_authority_below_it_is_refused(place: Path, authority: Authority) -> None:
    """Its path length is 0."""
    extensions = authority.certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert extensions.get_extension_for_class(x509.NameConstraints).critical
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_two_boxes_of_one_name_have_different_authorities(authority: Authority) -> None:
    other = authorities.make(OWN, NOW)
    assert other.certificate.subject != authority.certificate.subject
    assert authorities.fingerprint(other.certificate) != authorities.fingerprint(
        authority.certificate
    )


@pytest.mark.parametrize("hostname", ["", "a" * 63])
def test_any_hostname_will_do(hostname: str) -> None:
    name = authorities.make(own_names(hostname, []), NOW).certificate.subject.rfc4514_string()
    assert name.startswith("CN=lanscribe on ")


def test_it_is_kept_in_files_that_only_the_owner_reads(place: Path, authority: Authority) -> None:
    assert stat.S_IMODE((place / authorities.KEY_FILE).stat().st_mode) == 0o600
    found = authorities.load(place)
    assert found is not None
    assert found.certificate == authority.certificate
    assert b"PRIVATE" not in (place / authorities.CERTIFICATE_FILE).read_bytes()


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert authorities.load(tmp_path) is None


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_damaged_one_is_never_silently_made_again(
    tmp_path: Path, authority: Authority, share: float
) -> None:
    authorities.save(tmp_path, authority)
    path = tmp_path / authorities.KEY_FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AuthorityError, match=r"damaged.*trust --new"):
        authorities.load(tmp_path)


def test_one_with_the_key_of_another_is_damaged(tmp_path: Path, authority: Authority) -> None:
    authorities.save(tmp_path, Authority(authority.certificate, authorities.make([], NOW).key))
    with pytest.raises(AuthorityError, match="damaged"):
        authorities.load(tmp_path)


def test_one_without_its_key_is_not_made_again(tmp_path: Path, authority: Authority) -> None:
    authorities.save(tmp_path, authority)
    (tmp_path / authorities.KEY_FILE).unlink()
    with pytest.raises(AuthorityError, match=r"missing.*trust --new"):
        authorities.load(tmp_path)


@pytest.mark.parametrize("kept", [b"", b"of another one"])
def test_the_copy_is_mended(tmp_path: Path, authority: Authority, kept: bytes) -> None:
    authorities.save(tmp_path, authority)
    path = tmp_path / authorities.CERTIFICATE_FILE
    expected = path.read_bytes()
    path.write_bytes(kept)
    authorities.mend_copy(tmp_path, authority)
    assert path.read_bytes() == expected


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one"
    secret_files.replace(path, b"old")
    (tmp_path / ".one.dead").write_bytes(b"left by a crash")

    def fail(_descriptor: int) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space"):
            secret_files.replace(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["one"]
    assert path.read_bytes() == b"old"


def test_a_clock_that_is_set_later_ends_it() -> None:
    made = authorities.make(OWN, datetime(2026, 12, 1, tzinfo=UTC))
    assert made.end == datetime(2036, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize("year", [1970, 2026, 2027, 2036, 2106])
def test_it_is_valid_since_before_any_box_whatever_the_clock_says(year: int) -> None:
    now = datetime(year, 12, 1, tzinfo=UTC)
    made = authorities.make(OWN, now)
    assert made.begin == EARLIEST
    assert made.end == max(now, EARLIEST) + AUTHORITY_LASTS


def forged_by_common_name(place: Path, authority: Authority, common_name: str) -> Path:
    """A leaf by a thief of the key that has a common name, and no subjectAltName."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(EARLIEST)
        .not_valid_after(authority.end)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    path = place / "forged.pem"
    path.write_bytes(builder.sign(authority.key, SHA256()).public_bytes(Encoding.PEM))
    return path


def judged_leniently(place: Path, leaf: Path, *flags: str) -> str:
    """What openssl says as programs call it, without -x509_strict; "" if it accepts the leaf."""
    command = ["openssl", "verify", "-purpose", "sslserver", "-attime", str(int(NOW.timestamp()))]
    command += ["-CAfile", str(place / authorities.CERTIFICATE_FILE), *flags, str(leaf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def test_openssl_holds_a_plain_common_name_to_the_constraints(
    place: Path, authority: Authority
) -> None:
    leaf = forged_by_common_name(place, authority, "www.example.com")
    assert "permitted subtree violation" in judged_leniently(place, leaf)


def test_openssl_takes_a_wildcard_in_the_common_name_past_the_constraints(
    place: Path, authority: Authority
) -> None:
    """What a thief of the key can do to OpenSSL's programs; docs/operations.md says so."""
    leaf = forged_by_common_name(place, authority, "*.example.com")
    assert judged_leniently(place, leaf, "-verify_hostname", "www.example.com") == ""


def test_openssl_takes_a_common_name_with_a_dot_at_its_end_past_the_constraints(
    place: Path, authority: Authority
) -> None:
    """Not for the name without the dot, but curl and Node compare names by themselves."""
    leaf = forged_by_common_name(place, authority, "www.example.com.")
    assert judged_leniently(place, leaf) == ""
    assert "hostname mismatch" in judged_leniently(
        place, leaf, "-verify_hostname", "www.example.com"
    )


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_file_is_said_at_once(tmp_path: Path, authority: Authority, kind: str) -> None:
    authorities.save(tmp_path, authority)
    put_odd_file(tmp_path / authorities.KEY_FILE, kind)
    with pytest.raises(AuthorityError, match=r"key: (it|Is) .*move it away.*trust --new"):
        authorities.load(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_a_copy_that_is_no_file_is_mended(tmp_path: Path, authority: Authority, kind: str) -> None:
    authorities.save(tmp_path, authority)
    path = tmp_path / authorities.CERTIFICATE_FILE
    put_odd_file(path, kind)
    authorities.mend_copy(tmp_path, authority)
    assert path.read_bytes() == authority.certificate.public_bytes(Encoding.PEM)


def test_one_that_this_user_may_not_read_is_said(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(secret_files, "read", refuse)
    with pytest.raises(AuthorityError, match=r"may not read it; change its owner.*trust --new"):
        authorities.load(tmp_path)


KEYS = {
    "unknown curve": ["EC", "-pkeyopt", "ec_paramgen_curve:secp160k1"],
    "another curve": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["ED25519"],
    "encrypted": ["ED25519", "-aes256", "-pass", "pass:secret"],
    "x448": ["X448"],
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_will_not_do_is_said(tmp_path: Path, authority: Authority, kind: str) -> None:
    authorities.save(tmp_path, authority)
    command = ["openssl", "genpkey", "-algorithm", *KEYS[kind]]
    key = subprocess.run(command, capture_output=True, check=True).stdout
    certificate = authority.certificate.public_bytes(Encoding.PEM)
    (tmp_path / authorities.KEY_FILE).write_bytes(key + certificate)
    with pytest.raises(AuthorityError, match=r"(damaged|unknown kind).*trust --new"):
        authorities.load(tmp_path)
