"""Certificates of the owner's: checked whole before they are shown, read again when they change."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lanscribe.config import Settings, TlsSettings
from lanscribe.engines.fake import spoken
from lanscribe.errors import ConfigError
from lanscribe.identity import authority as authorities
from lanscribe.identity import certificates
from lanscribe.identity import leaf as leaves
from lanscribe.identity.authority import Authority
from lanscribe.identity.own_certificate import OwnCertificate
from lanscribe.identity.terms import Subjects
from tests.identity.boxes import ODD_FILES, put_odd_file
from tests.servers import Parts, ServeHere
from tests.support import DEADLINE_S, client, counting, text_of

LOOK_EVERY_S = 0.02


@dataclass
class Owner:
    """Somebody with an authority, and files where the settings name them."""

    folder: Path
    authority: Authority

    @property
    def cert(self) -> Path:
        return self.folder / "fullchain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "privkey.pem"

    @property
    def settings(self) -> TlsSettings:
        return TlsSettings(mode="own", cert=str(self.cert), key=str(self.key), port=0)

    def pair(self, *names: str) -> tuple[bytes, bytes]:
        """A new certificate for these names and this machine, and its key."""
        subjects = Subjects(names, ("127.0.0.1",))
        content = leaves.issue(self.authority, subjects, "nas", datetime.now(UTC))
        cut = content.index(b"-----BEGIN PRIVATE KEY")
        return content[:cut], content[cut:]

    def put(self, *names: str) -> None:
        cert, key = self.pair(*names)
        self.cert.write_bytes(cert)
        self.key.write_bytes(key)

    def trusting(self) -> ssl.SSLContext:
        pem = self.authority.certificate.public_bytes(Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    made = Owner(tmp_path, authorities.make(["nas"], datetime.now(UTC)))
    made.put("one.local", "*.lan")
    return made


def test_its_names_are_known_without_those_that_stand_for_many(owner: Owner) -> None:
    shown = OwnCertificate(owner.settings).look()
    assert shown.names == ("one.local", "127.0.0.1")
    assert shown.authority is None


def test_a_wildcard_stands_for_the_hostnames_of_the_settings(owner: Owner) -> None:
    owner.put("*.example.org")
    hostnames = ["box.example.org", "a.box.example.org", "example.org"]
    assert OwnCertificate(owner.settings, hostnames).look().names == (
        "127.0.0.1",
        "box.example.org",
    )


def test_it_is_read_once_while_the_files_stay(owner: Owner) -> None:
    own = OwnCertificate(owner.settings)
    assert own.look() is own.look()


@pytest.mark.parametrize("flaw", ["only the certificate", "half a certificate", "no key", "junk"])
def test_a_pair_that_is_being_written_keeps_the_old_one(
    owner: Owner, caplog: pytest.LogCaptureFixture, flaw: str
) -> None:
    shown = certificates.of(Settings(tls=owner.settings))
    assert shown is not None
    shown.look()
    before = shown.context()
    cert, key = owner.pair("two.local")
    match flaw:
        case "only the certificate":
            owner.cert.write_bytes(cert)
        case "half a certificate":
            owner.cert.write_bytes(cert[: len(cert) // 2])
        case "no key":
            owner.key.unlink()
        case "junk":
            owner.key.write_bytes(b"")
    for _ in range(3):
        shown.look()
    assert shown.context() is before
    assert shown.names[0] == "one.local"
    assert len([one for one in caplog.messages if "the certificate stays: tls." in one]) == 1
    owner.cert.write_bytes(cert)
    owner.key.write_bytes(key)
    shown.look()
    assert shown.context() is not before
    assert shown.names[0] == "two.local"
    assert shown.trouble == ""


@pytest.mark.parametrize("name", ["cert", "key"])
@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_file_is_said_at_once(owner: Owner, name: str, kind: str) -> None:
    path: Path = getattr(owner, name)
    put_odd_file(path, kind)
    with pytest.raises(ConfigError, match=rf"tls\.{name}: {path} cannot be read: (it|Is a) "):
        certificates.of(Settings(tls=owner.settings))


def test_links_are_followed_as_certbot_changes_them(owner: Owner) -> None:
    """It leaves the files of the past, and lets its links lead to new ones."""
    for name in ("fullchain", "privkey"):
        path = owner.folder / f"{name}.pem"
        path.rename(owner.folder / f"{name}1.pem")
        path.symlink_to(f"{name}1.pem")
    own = OwnCertificate(owner.settings)
    assert own.look().names[0] == "one.local"
    for name, content in zip(("fullchain", "privkey"), owner.pair("two.local"), strict=True):
        (owner.folder / f"{name}2.pem").write_bytes(content)
        (owner.folder / f"{name}.pem").unlink()
        (owner.folder / f"{name}.pem").symlink_to(f"{name}2.pem")
    assert own.look().names[0] == "two.local"


@pytest.mark.parametrize("mode", ["auto", "own"])
def test_both_files_have_to_be_named(owner: Owner, mode: str) -> None:
    for name in ("cert", "key"):
        named = {"mode": mode, name: str(getattr(owner, name))}
        with pytest.raises(ConfigError, match=r"is empty; a certificate of your own needs both"):
            certificates.of(Settings.model_validate({"tls": named}))
    with pytest.raises(ConfigError, match=r"tls\.cert: is empty"):
        certificates.of(Settings(tls=TlsSettings(mode="own")))


def test_off_is_off_whatever_is_named(owner: Owner) -> None:
    tls = owner.settings.model_copy(update={"mode": "off"})
    assert certificates.of(Settings(tls=tls)) is None


def test_a_session_outlasts_the_change_of_its_certificate(
    owner: Owner, serve_here: ServeHere
) -> None:
    parts = Parts(look_every_s=LOOK_EVERY_S)
    server = serve_here(parts, tls=owner.settings.model_dump())

    async def first_name() -> str:
        at = (server.host, server.secure_port)
        _, writer = await asyncio.open_connection(*at, ssl=owner.trusting())
        found = writer.get_extra_info("peercert")["subjectAltName"]
        writer.transport.abort()
        return str(found[0][1])

    async def converse() -> None:
        async with client(server.secure_url, "fake-numbers", ssl=owner.trusting()) as one:
            await one.commit(final=False)
            await one.append(spoken(range(1, 20)))
            events = [await one.receive()]
            owner.put("two.local")
            async with asyncio.timeout(DEADLINE_S):
                while await first_name() != "two.local":
                    await asyncio.sleep(LOOK_EVERY_S)
            await one.append(spoken(range(20, 40)))
            await one.commit(final=True)
            events += await one.until("transcription.done")
            assert text_of(events) == counting(range(1, 40))

    asyncio.run(converse())
    assert "PRIVATE" not in server.log


def test_clients_that_would_refuse_it_are_a_warning_once(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    now = [datetime.now(UTC)]
    found = OwnCertificate(owner.settings, clock=lambda: now[0])
    shown = certificates.Certificates(found.look)
    shown.look()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    caplog.clear()
    for days, words in ((999, "it ended on 2"), (-999, "it is valid only from 2")):
        now[0] = datetime.now(UTC) + timedelta(days=days)
        shown.look()
        shown.look()
        (record,) = caplog.records
        assert f"{owner.cert}: clients refuse it: {words}" in record.getMessage()
        caplog.clear()


def test_a_wildcard_alone_names_no_box_and_the_remedy_is_told(owner: Owner) -> None:
    subjects = Subjects(("*.example.org",), ())
    content = leaves.issue(owner.authority, subjects, "nas", datetime.now(UTC))
    owner.cert.write_bytes(content)
    owner.key.write_bytes(content)
    shown = certificates.Certificates(OwnCertificate(owner.settings).look)
    shown.look()
    assert shown.names == ()
    assert "has *.example.org; name this box in auth.hostnames" in shown.why_nameless
    named = certificates.Certificates(OwnCertificate(owner.settings, ["box.example.org"]).look)
    named.look()
    assert (named.names, named.why_nameless) == (("box.example.org",), "")


def test_https_that_comes_back_is_told(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = certificates.Certificates(OwnCertificate(owner.settings).look)
    found.look()
    whole = owner.key.read_bytes()
    owner.key.write_bytes(b"")
    found.look()
    owner.key.write_bytes(whole)
    found.look()
    found.look()
    assert [record.getMessage()[:20] for record in caplog.records] == [
        "the certificate stay",
        "the certificate is r",
    ]
