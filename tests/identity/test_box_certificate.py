import json
import logging
import os
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from lanscribe.identity import authority as authorities
from lanscribe.identity import leaf as leaves
from lanscribe.identity import secret_files
from lanscribe.identity.authority import AuthorityError
from lanscribe.identity.certificates import Certificates
from lanscribe.identity.shown import Shown
from lanscribe.identity.terms import Subjects
from tests.identity.boxes import ODD_FILES, Box, put_odd_file, verified, verify_flag
from tests.servers import ServeHere

DAY = timedelta(days=1)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "tls")


def leaf_of(box: Box) -> x509.Certificate:
    return x509.load_pem_x509_certificate((box.folder / leaves.FILE).read_bytes())


def test_openssl_trusts_every_name_of_the_leaf(box: Box) -> None:
    shown = box.certificate().look()
    assert shown.names[0] == "192.168.1.5"
    assert "nas.corp.example" in shown.names
    assert "2001:db8::5" not in shown.names
    for name in shown.names:
        files = (box.folder / authorities.CERTIFICATE_FILE, box.folder / leaves.FILE)
        assert verified(*files, box.now, *verify_flag(name)) == "", name


def test_python_trusts_it_over_a_connection(box: Box) -> None:
    box.now = datetime.now(UTC)
    shown = box.certificate().look()
    trusting = ssl.create_default_context(cafile=box.folder / authorities.CERTIFICATE_FILE)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in shown.names:
        shake_hands(shown.context, trusting, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        shake_hands(shown.context, trusting, "other.local")


@pytest.mark.parametrize("name", ["example.com", "evil-lan", "8.8.8.8", "2001:db8::1"])
def test_python_refuses_what_the_authority_may_not_vouch_for(box: Box, name: str) -> None:
    box.now = datetime.now(UTC)
    box.certificate().look()
    authority = authorities.load(box.folder)
    assert authority is not None
    is_address = verify_flag(name)[0] == "-verify_ip"
    subjects = Subjects((), (name,)) if is_address else Subjects((name,), ())
    leaves.save(box.folder, leaves.issue(authority, subjects, "nas", box.now))
    forged = leaves.load(box.folder)
    assert forged is not None
    trusting = ssl.create_default_context(cafile=box.folder / authorities.CERTIFICATE_FILE)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(forged.context, trusting, name)


ASK = "require('https').get(process.argv[1], (a) => process.exit(a.statusCode === 200 ? 0 : 1))"


@pytest.mark.parametrize("program", ["curl", "node"])
def test_other_programs_trust_a_running_server(
    tmp_path: Path, serve_here: ServeHere, program: str
) -> None:
    """And only with the authority."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is absent")
    tls = {"mode": "auto", "port": 0}
    server = serve_here(server={"host": "127.0.0.1", "state_dir": str(tmp_path)}, tls=tls)
    pem = str(tmp_path / "tls" / authorities.CERTIFICATE_FILE)
    for host in ("127.0.0.1", "localhost"):
        url = f"https://{host}:{server.secure_port}/health"
        command = ["curl", "-sSf", url] if program == "curl" else ["node", "-e", ASK, url]
        for trusted, is_right in ((pem, True), ("", False)):
            names = {"CURL_CA_BUNDLE": trusted, "NODE_EXTRA_CA_CERTS": trusted}
            given = {name: value for name, value in names.items() if value}
            environment = {**os.environ, **given}
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            assert (done.returncode == 0) is is_right, (url, trusted, done.stderr)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Raises ssl.SSLError if the client does not trust the server under this name."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass


def test_nothing_is_made_again_while_nothing_changes(box: Box) -> None:
    certificate = box.certificate()
    first = certificate.look()
    assert certificate.look().context is first.context
    kept = (box.folder / leaves.FILE).read_bytes()
    box.certificate().look()  # a server that starts later
    assert (box.folder / leaves.FILE).read_bytes() == kept


def test_only_the_owner_reads_what_it_keeps(box: Box) -> None:
    box.certificate().look()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in box.folder.iterdir()}
    assert modes == {"authority.key": 0o600, "authority.pem": 0o600, "leaf.pem": 0o600}
    assert stat.S_IMODE(box.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("change", ["clock", "address", "name", "authority"])
def test_the_leaf_is_renewed(box: Box, change: str) -> None:
    certificate = box.certificate()
    first, serial = certificate.look(), leaf_of(box).serial_number
    if change == "clock":
        box.now += 270 * DAY
    elif change == "address":
        box.addresses.append("10.0.0.7")
    elif change == "name":
        box.hostname = "Attic"
    else:
        authorities.save(box.folder, authorities.make(["nas"], box.now))
    second = certificate.look()
    assert second.context is not first.context
    assert leaf_of(box).serial_number != serial
    assert (second.authority == first.authority) is (change != "authority")
    files = (box.folder / authorities.CERTIFICATE_FILE, box.folder / leaves.FILE)
    assert verified(*files, box.now, *verify_flag(second.names[0])) == ""


def test_a_new_name_is_in_it_as_far_as_the_authority_permits(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """The authority may not vouch for a bare name that it was not made for; its .local it may."""
    certificate = box.certificate()
    certificate.look()
    box.hostname = "attic"
    with caplog.at_level(logging.WARNING):
        names = certificate.look().names
        certificate.look()
    assert "attic.local" in names
    assert "attic" not in names
    assert len([one for one in caplog.messages if "does not permit it: attic" in one]) == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_damaged_leaf_is_made_again(box: Box, share: float) -> None:
    box.certificate().look()
    path = box.folder / leaves.FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    box.certificate().look()
    assert leaves.load(box.folder) is not None
    assert path.read_bytes() != content


def test_a_leaf_of_another_authority_is_made_again(box: Box, tmp_path: Path) -> None:
    other = Box(tmp_path / "other")
    other.certificate().look()
    box.certificate().look()
    (box.folder / leaves.FILE).write_bytes((other.folder / leaves.FILE).read_bytes())
    shown = box.certificate().look()
    assert shown.authority is not None
    leaf_of(box).verify_directly_issued_by(shown.authority)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_what_is_no_leaf_is_made_again_at_once(box: Box, kind: str) -> None:
    box.certificate().look()
    put_odd_file(box.folder / leaves.FILE, kind)
    box.certificate().look()
    assert (box.folder / leaves.FILE).is_file()
    assert leaves.load(box.folder) is not None


def test_a_folder_in_the_place_of_the_leaf_is_said(box: Box) -> None:
    box.certificate().look()
    put_odd_file(box.folder / leaves.FILE, "folder")
    certificates = Certificates(box.certificate().look)
    certificates.look()
    assert certificates.trouble.startswith(f"{box.folder / leaves.FILE}: it is a folder")


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_authority_is_trouble_at_once(box: Box, kind: str) -> None:
    certificates = Certificates(box.certificate().look)
    certificates.look()
    proof = certificates.fingerprint
    put_odd_file(box.folder / authorities.KEY_FILE, kind)
    certificates.look()
    assert str(box.folder / authorities.KEY_FILE) in certificates.trouble
    assert certificates.fingerprint == proof


def test_a_public_suffix_is_in_no_leaf_and_the_log_says_what_is(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if an older authority permits it."""
    box.hostname = "studio"
    box.certificate().look()
    kept = authorities.load(box.folder)
    assert kept is not None
    assert "studio" not in kept.permitted_names
    names = leaves.subjects_of(leaf_of(box)).names
    assert "studio" not in names
    assert "studio.local" in names
    (told,) = [one for one in caplog.messages if "public suffix" in one]
    assert "have domains: studio; use" in told
    assert "studio.local" in told


@pytest.mark.parametrize("lost", ["folder", "both", "key"])
def test_an_authority_that_vanishes_under_a_server_is_put_back(
    box: Box, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    certificate = box.certificate()
    first = certificate.look()
    if lost == "folder":
        shutil.rmtree(box.folder)
    else:
        (box.folder / authorities.KEY_FILE).unlink()
    if lost == "both":
        (box.folder / authorities.CERTIFICATE_FILE).unlink()
    for _ in range(3):
        assert certificate.look().authority == first.authority
    assert len([one for one in caplog.messages if "put its authority back" in one]) == 1
    assert box.certificate().look().authority == first.authority
    assert stat.S_IMODE(box.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("is_same_server", [True, False])
def test_a_clock_that_was_ahead_does_no_harm_when_it_is_right_again(
    box: Box, is_same_server: bool
) -> None:
    right, box.now = box.now, datetime(2036, 2, 7, tzinfo=UTC)
    certificate = box.certificate()
    first = certificate.look()
    box.now = right
    second = (certificate if is_same_server else box.certificate()).look()
    assert second.authority == first.authority
    assert second.context is not first.context
    files = (box.folder / authorities.CERTIFICATE_FILE, box.folder / leaves.FILE)
    assert verified(*files, right, *verify_flag("nas.local")) == ""


def test_an_authority_that_is_not_valid_yet_is_said(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions made it so when the clock was ahead."""
    with monkeypatch.context() as patch:
        patch.setattr(authorities, "EARLIEST", box.now + DAY)
        made = authorities.make(["nas"], box.now)
    with secret_files.locked(box.folder):
        authorities.save(box.folder, made)
    with pytest.raises(AuthorityError, match=r"valid only from 2027-03-02 on.*trust --new"):
        box.certificate().look()


def test_an_ended_authority_is_said(box: Box) -> None:
    box.certificate().look()
    box.now += 3651 * DAY
    with pytest.raises(AuthorityError, match=r"has ended on .*trust --new"):
        box.certificate().look()


def test_a_leaf_ends_with_its_authority(box: Box) -> None:
    box.certificate().look()
    box.now += 3640 * DAY
    certificate = box.certificate()
    first = certificate.look()
    box.now += 9 * DAY
    assert certificate.look().context is first.context


def test_a_clock_that_is_not_set_makes_nothing_and_is_asked_again(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    right, box.now = box.now, datetime(1970, 1, 1, tzinfo=UTC)
    certificates = Certificates(box.certificate().look)
    certificates.look()
    certificates.look()
    assert certificates.context() is None
    assert certificates.fingerprint == ""
    assert certificates.names == ()
    assert [one for one in caplog.messages if "the clock of this machine says 1970" in one] == [
        f"no TLS: {certificates.trouble}"
    ]
    assert list(box.folder.iterdir()) == []
    box.now = right
    certificates.look()
    assert certificates.context() is not None
    assert certificates.trouble == ""
    assert len(certificates.fingerprint) == 95


def test_what_was_made_before_is_shown_whatever_the_clock_says(box: Box) -> None:
    box.certificate().look()
    kept = (box.folder / leaves.FILE).read_bytes()
    box.now = datetime(1970, 1, 1, tzinfo=UTC)
    box.certificate().look()
    assert (box.folder / leaves.FILE).read_bytes() == kept


def test_a_bad_look_keeps_the_certificate_and_is_one_warning(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(box.certificate().look)
    certificates.look()
    context, proof = certificates.context(), certificates.fingerprint
    (box.folder / authorities.KEY_FILE).write_bytes(b"")
    for _ in range(3):
        certificates.look()
    assert certificates.context() is context
    assert certificates.fingerprint == proof
    assert len([one for one in caplog.messages if "trust --new" in one]) == 1
    authorities.save(box.folder, authorities.make(["nas"], box.now))
    certificates.look()
    assert certificates.trouble == ""
    assert certificates.fingerprint != proof


STARTED_TOGETHER = """
import json, sys
from pathlib import Path
from lanscribe.identity.terms import Subjects
from tests.identity.boxes import Box
sys.stdin.readline()
shown = Box(Path(sys.argv[1])).certificate().look()
print(json.dumps(str(shown.authority.serial_number)))
"""


def test_two_servers_of_one_folder_have_one_authority(box: Box) -> None:
    found: list[Shown] = []
    all_are_here = threading.Barrier(8)

    def start() -> None:
        certificate = box.certificate()
        all_are_here.wait()
        found.append(certificate.look())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({shown.authority for shown in found}) == 1
    assert len(found) == 8


def test_two_processes_of_one_folder_have_one_authority(box: Box) -> None:
    command = [sys.executable, "-c", STARTED_TOGETHER, str(box.folder)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert len({json.loads(one.communicate()[0]) for one in both}) == 1


@pytest.mark.parametrize("writes", range(4))
def test_a_crash_between_any_two_writes_leaves_a_usable_state(
    box: Box, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """The process dies after so many files; the next start has one authority and a valid leaf."""

    class Died(BaseException):
        pass

    replace, count = secret_files.replace, [0]

    def replace_or_die(path: Path, content: bytes) -> None:
        if count[0] == writes:
            path.with_name(f".{path.name}.dead").write_bytes(content[: len(content) // 2])
            raise Died
        count[0] += 1
        replace(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(secret_files, "replace", replace_or_die)
        try:
            box.certificate().look()
        except Died:
            pass
        else:
            assert writes == 3
    shown = box.certificate().look()
    files = (box.folder / authorities.CERTIFICATE_FILE, box.folder / leaves.FILE)
    assert verified(*files, box.now, *verify_flag(shown.names[0])) == ""
    assert not list(box.folder.glob(".*"))
