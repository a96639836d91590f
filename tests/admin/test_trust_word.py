"""serve.sh trust: shows, replaces and removes what devices trust."""

import errno
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lanscribe import PROJECT_DIR
from lanscribe.admin import banner, records, serving
from lanscribe.admin.commands import dispatch
from lanscribe.admin.trust import facts
from lanscribe.config import ServerSettings, Settings, TlsSettings
from lanscribe.engines.base import EngineInfo
from lanscribe.identity import authority as authorities
from lanscribe.identity import box_certificate, certificates, secret_files
from lanscribe.identity import leaf as leaves
from lanscribe.identity.terms import Subjects
from lanscribe.server.trust import Trust
from tests.identity.boxes import ODD_FILES, put_odd_file
from tests.servers import StartServer
from tests.support import DEADLINE_S

DAY = timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANSCRIBE_TLS_MODE", "auto")
    monkeypatch.setenv("LANSCRIBE_SERVER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(records, "RECORDS_DIR", tmp_path / "servers")
    return tmp_path / "state"


def settings_of(state: Path, **tls: object) -> Settings:
    tls = {"mode": "auto", "port": 0, **tls}
    server = ServerSettings(host="127.0.0.1", port=0, state_dir=str(state))
    return Settings(server=server, tls=TlsSettings.model_validate(tls))


def started(state: Path) -> str:
    """The fingerprint after a server has started."""
    shown = certificates.of(settings_of(state))
    assert shown is not None
    shown.look()
    return shown.fingerprint


def test_it_shows_the_fingerprint_the_file_and_the_page(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = started(state)
    assert dispatch(["trust"]) == 0
    told = capsys.readouterr().out
    assert f"SHA-256 {proof}" in told
    assert str(state / "tls" / "authority.pem") in told
    assert re.search(r"http://\S+:\d+/trust$", told, re.MULTILINE)
    assert "PRIVATE" not in told


def test_a_new_one_is_taken_by_a_server_that_runs(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = certificates.of(settings_of(state))
    assert shown is not None
    shown.look()
    before = shown.fingerprint
    assert dispatch(["trust", "--new"]) == 0
    told = capsys.readouterr()
    assert "every device has to trust this box again" in told.err
    shown.look()
    assert shown.fingerprint != before
    assert shown.fingerprint in told.out


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_one_is_said_and_a_new_one_mends_it(
    state: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    started(state)
    path = state / "tls" / authorities.KEY_FILE
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    else:
        path.unlink()
    shown = certificates.of(settings_of(state))
    assert shown is not None
    shown.look()
    assert shown.context() is None
    assert "bash serve.sh trust --new" in shown.trouble
    assert dispatch(["trust"]) == 1
    assert "bash serve.sh trust --new" in capsys.readouterr().err
    assert dispatch(["trust", "--new"]) == 0
    shown.look()
    assert shown.context() is not None


def test_the_removal_names_this_certificate_on_every_system(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(state)
    assert dispatch(["trust", "--remove"]) == 0
    told = capsys.readouterr().out
    pem = state / "tls" / authorities.CERTIFICATE_FILE
    command = ["openssl", "x509", "-in", str(pem), "-noout", "-fingerprint", "-sha1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sha1 = done.stdout.strip().partition("=")[2].replace(":", "")
    assert f"certutil -user -delstore Root {sha1}" in told
    assert f"security delete-certificate -Z {sha1}" in told
    name = name_of(pem)
    assert f"certutil -d sql:$HOME/.pki/nssdb -D -n {name}\n" in told
    assert f"rm /usr/local/share/ca-certificates/{name}.crt\n" in told
    assert f"rm /etc/pki/ca-trust/source/anchors/{name}.pem\n" in told
    assert f"rm -r {state / 'tls'}" in told


def name_of(pem: Path) -> str:
    """What a device calls an authority."""
    return authorities.file_name(x509.load_pem_x509_certificate(pem.read_bytes()))


@pytest.mark.skipif(shutil.which("certutil") is None, reason="no certutil (libnss3-tools) here")
def test_a_new_authority_is_installed_and_removed_beside_the_old_one(
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    removals = []
    names = []
    for word in ("--new", "--new"):
        assert dispatch(["trust", word]) == 0
        pem = state / "tls" / authorities.CERTIFICATE_FILE
        names.append(name_of(pem))
        (tmp_path / f"{names[-1]}.pem").write_bytes(pem.read_bytes())
        page = steps_of(pem)
        in_shell(page["mkdir"], tmp_path)
        in_shell(page["certutil"], tmp_path)
        capsys.readouterr()
        assert dispatch(["trust", "--remove"]) == 0
        removals.append(re.findall(r"certutil -d .* -D -n \S+", capsys.readouterr().out))
    listed = "certutil -L -d sql:$HOME/.pki/nssdb"
    assert all(name in in_shell(listed, tmp_path) for name in names)
    in_shell(removals[0][0], tmp_path)
    told = in_shell(listed, tmp_path)
    assert (names[0] in told, names[1] in told) == (False, True)


def steps_of(pem: Path) -> dict[str, str]:
    """The commands of the page's section for Chromium on Linux, by their first words."""
    authority = x509.load_pem_x509_certificate(pem.read_bytes())
    shown = Mock(authority=authority, names=("box.local",))
    with TestClient(Starlette(routes=Trust(shown, 8443).routes())) as client:
        page = client.get("/trust").text
    lines = [line for part in re.findall(r"<pre>([^<]*)</pre>", page) for line in part.split("\n")]
    return {line.split()[0]: line for line in lines if "nssdb" in line}


def in_shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_with_a_certificate_of_the_owners_there_is_nothing_to_trust(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANSCRIBE_TLS_CERT", "mine.pem")
    monkeypatch.setenv("LANSCRIBE_TLS_KEY", "mine.key")
    assert dispatch(["trust"]) == 1
    told = capsys.readouterr().err
    assert "mine.pem" in told
    assert told.count("\n") == 1
    assert not state.exists()


def test_without_one_it_says_what_makes_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["trust"]) == 1
    assert "the first bash serve.sh makes it" in capsys.readouterr().err
    assert not state.exists()


def test_the_facts_for_the_doctor(state: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert facts(settings_of(state, mode="off"), now).mode == "off"
    assert facts(settings_of(state), now).days_left is None
    proof = started(state)
    found = facts(settings_of(state), now + timedelta(seconds=2))
    assert (found.mode, found.fingerprint, found.trouble) == ("box", proof, "")
    assert (found.days_left, found.authority_days_left) == (395, 3649)
    own = settings_of(state, cert=str(state / "tls" / "leaf.pem"), key="k")
    assert facts(own, now + 9 * DAY).days_left in {386, 387}
    assert facts(settings_of(state, cert=str(tmp_path / "no"), key="k"), now).trouble
    (state / "tls" / authorities.KEY_FILE).chmod(0o644)
    assert facts(settings_of(state), now).readable_by_others.endswith(authorities.KEY_FILE)
    (state / "tls" / authorities.KEY_FILE).write_bytes(b"")
    assert "damaged" in facts(settings_of(state), now).trouble


def test_the_facts_say_that_an_authority_is_not_valid_yet(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr(authorities, "EARLIEST", now + DAY)
        started(state)
    assert "is valid only from" in facts(settings_of(state), now).trouble
    assert facts(settings_of(state), now + 2 * DAY).trouble == ""


@pytest.mark.parametrize("kind", ODD_FILES)
def test_the_facts_name_what_is_no_file_at_once(state: Path, tmp_path: Path, kind: str) -> None:
    put_odd_file(tmp_path / "mine.pem", kind)
    own = settings_of(state, cert=str(tmp_path / "mine.pem"), key="k")
    told = facts(own, datetime.now(UTC)).trouble
    assert re.fullmatch(f"tls.cert: {tmp_path / 'mine.pem'}: (it|Is a) .*", told)


def test_a_check_of_the_settings_makes_no_files(state: Path) -> None:
    command = [sys.executable, "-m", "lanscribe", "check-config"]
    done = subprocess.run(
        command, cwd=PROJECT_DIR, env=dict(os.environ), capture_output=True, check=False
    )
    assert done.returncode == 0
    assert not state.exists()


@pytest.mark.slow
def test_a_server_has_https_by_itself_and_the_same_authority_after_a_restart(
    start_server: StartServer, state: Path
) -> None:
    server = start_server("fake", "--tls-port", "0")
    told = [line for line in server.banner if line.startswith(("  https", "  authority"))]
    pem = state / "tls" / authorities.CERTIFICATE_FILE
    proof = authorities.fingerprint(x509.load_pem_x509_certificate(pem.read_bytes()))
    assert told == [
        f"  https      https://127.0.0.1:{server.secure_port}/",
        f"  authority  SHA-256 {proof}",
    ]
    trusting = ssl.create_default_context(cafile=pem)
    url = f"https://127.0.0.1:{server.secure_port}/trust/check"
    with urllib.request.urlopen(url, timeout=DEADLINE_S, context=trusting) as answer:
        assert json.load(answer)["fingerprint"] == proof
    leaf = (state / "tls" / "leaf.pem").read_bytes()
    assert server.stop() == 0
    server.restart()
    assert f"  authority  SHA-256 {proof}" in server.banner
    assert (state / "tls" / "leaf.pem").read_bytes() == leaf
    assert server.stop() == 0
    assert "PRIVATE" not in server.log
    assert "Traceback" not in server.log


def doors_of(settings: Settings) -> banner.Doors:
    prepared = serving.Prepared(settings, certificates.of(settings), False, "")
    doors = serving._doors(prepared)
    assert doors is not None
    return doors


def lines_of(settings: Settings, doors: banner.Doors) -> list[str]:
    engine = EngineInfo("fake", "m", ("en",), word_times=False, max_session_s=None, capacity=1)
    return banner.banner(settings, doors, None, engine, None).splitlines()


def test_the_banner_has_the_address_and_the_fingerprint(state: Path) -> None:
    settings = settings_of(state)
    doors = doors_of(settings)
    assert doors.secure is not None
    assert doors.certificates is not None
    with doors.plain, doors.secure.socket as secure:
        doors.certificates.look()
        told = lines_of(settings, doors)
        port = secure.getsockname()[1]
        assert f"  https      https://127.0.0.1:{port}/" in told
        assert f"  clients    wss://127.0.0.1:{port}/v1/realtime" in told
        assert doors.secure_port == port
        assert any(line.endswith(f" SHA-256 {doors.certificates.fingerprint}") for line in told)


def test_the_banner_says_why_there_is_no_certificate(state: Path) -> None:
    box_certificate.folder(settings_of(state)).parent.mkdir()
    box_certificate.folder(settings_of(state)).write_text("a file in the place of the folder")
    settings = settings_of(state)
    doors = doors_of(settings)
    assert doors.secure is not None
    assert doors.certificates is not None
    with doors.plain, doors.secure.socket:
        doors.certificates.look()
        assert any(
            line.startswith(f"  https      none: {state / 'tls'}: ") and "state_dir" in line
            for line in lines_of(settings, doors)
        )
        assert doors.secure_port is None
        assert not any("wss://" in line for line in lines_of(settings, doors))


def test_a_taken_port_costs_only_https(state: Path) -> None:
    first = doors_of(settings_of(state))
    assert first.secure is not None
    with first.plain, first.secure.socket as taken:
        number = taken.getsockname()[1]
        settings = settings_of(state, port=number)
        doors = doors_of(settings)
        with doors.plain:
            assert doors.secure is None
            told = lines_of(settings, doors)
            assert any(
                line.startswith(f"  https      none: cannot listen on 127.0.0.1:{number}")
                and "--tls-port" in line
                for line in told
            )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::", "0.0.0.0"])
def test_any_address_to_listen_on_will_do(state: Path, host: str) -> None:
    settings = settings_of(state)
    server = settings.server.model_copy(update={"host": host})
    settings = settings.model_copy(update={"server": server})
    doors = doors_of(settings)
    assert doors.secure is not None
    assert doors.certificates is not None
    with doors.plain, doors.secure.socket:
        doors.certificates.look()
        assert doors.certificates.context() is not None
        if host in {"127.0.0.1", "::1", "localhost"}:
            assert doors.certificates.names[0] == host
        assert any("https://" in line for line in lines_of(settings, doors))


def test_one_port_for_both_doors_is_said_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = Settings.model_validate(
        {"server": {"host": "127.0.0.1", "port": port}, "tls": {"port": port}}
    )
    doors = doors_of(settings)
    doors.plain.close()
    assert doors.secure is None
    assert f"server.port and tls.port are both {port}" in doors.secure_trouble
    assert "--tls-port" in doors.secure_trouble


def test_a_full_disk_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        secret_files.replace(tmp_path / "leaf.pem", b"x")
    assert secret_files.told(caught.value) == (
        f"cannot write {tmp_path}/leaf.pem: No space left on device; make room on the disk of"
        f" {tmp_path}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_private_key_that_others_can_read_is_warned_of(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(state)
    started(state)
    caplog.clear()
    serving._warn_of_readable_keys(settings)
    assert not caplog.records
    caplog.clear()
    key = state / "tls" / authorities.KEY_FILE
    key.chmod(0o644)
    serving._warn_of_readable_keys(settings)
    (record,) = caplog.records
    assert record.getMessage() == f"others on this machine can read {key}; chmod 600 {key}"


def test_the_removal_needs_only_what_devices_have(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(state)
    pem = state / "tls" / authorities.CERTIFICATE_FILE
    sha1 = x509.load_pem_x509_certificate(pem.read_bytes()).fingerprint(hashes.SHA1()).hex().upper()
    (state / "tls" / authorities.KEY_FILE).unlink()
    assert dispatch(["trust", "--remove"]) == 0
    assert f"certutil -user -delstore Root {sha1}" in capsys.readouterr().out
    assert dispatch(["trust", "--new"]) == 0
    assert f"SHA-1 {sha1}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tls", "words"), [("own", "shows your own certificate"), ("off", "serves no https")]
)
def test_a_running_server_with_other_flags_is_asked(
    state: Path, capsys: pytest.CaptureFixture[str], tls: str, words: str
) -> None:
    started(state)
    with records.recorded("gateway", "127.0.0.1", 8000, records.More(tls=tls)):
        assert dispatch(["trust"]) == 1
    said = capsys.readouterr()
    assert f"lanscribe on port 8000 (process {os.getpid()}) {words}" in said.err
    assert said.out == ""
    with records.recorded("gateway", "127.0.0.1", 8000, records.More(tls="box")):
        assert dispatch(["trust"]) == 0


def test_the_banner_of_a_wildcard_says_where_its_name_goes(state: Path, tmp_path: Path) -> None:
    authority = authorities.make(["nas"], datetime.now(UTC))
    pair = leaves.issue(authority, Subjects(("*.example.org",), ()), "nas", datetime.now(UTC))
    (tmp_path / "pair.pem").write_bytes(pair)
    file = str(tmp_path / "pair.pem")
    settings = settings_of(state, mode="own", cert=file, key=file)
    doors = doors_of(settings)
    assert doors.certificates
    assert doors.secure
    doors.certificates.look()
    told = lines_of(settings, doors)
    doors.plain.close()
    doors.secure.socket.close()
    (https,) = [line for line in told if "https" in line]
    assert "has *.example.org; name this box in auth.hostnames" in https
    assert not [line for line in told if "wss://" in line]
