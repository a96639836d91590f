"""The box's authority, which devices are told to trust: `serve.sh trust`.

bash serve.sh trust            show it, and where devices get it
bash serve.sh trust --new      make another one; every device has to trust the box again
bash serve.sh trust --remove   tell how devices and the box get rid of it
bash serve.sh trust --json     the facts about the certificate in use, for programs
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from lanscribe import PROJECT_DIR
from lanscribe.admin import control
from lanscribe.admin.records import Record
from lanscribe.admin.sources import load
from lanscribe.config import Settings
from lanscribe.errors import ConfigError
from lanscribe.identity import authority as authorities
from lanscribe.identity import box_certificate, network, reachable, secret_files
from lanscribe.identity import leaf as leaves
from lanscribe.identity.authority import UNREADABLE, AuthorityError
from lanscribe.identity.certificates import LOOK_EVERY_S, is_own
from lanscribe.installation import say
from lanscribe.server import keys

_REMOVAL = """\
Remove "{name}" on each device that trusts it:

  Android        Settings, Security & privacy, More, Encryption & credentials, Trusted credentials,
                 User: press the entry, then Remove
  iPhone, iPad   Settings, General, VPN & Device Management: the profile, then Remove Profile
  Windows        certutil -user -delstore Root {sha1}
  macOS          security delete-certificate -Z {sha1} ~/Library/Keychains/login.keychain-db
  Debian, Ubuntu sudo rm /usr/local/share/ca-certificates/{file}.crt
                 sudo update-ca-certificates --fresh
  Fedora         sudo rm /etc/pki/ca-trust/source/anchors/{file}.pem
                 sudo update-ca-trust
  Chromium,      certutil -d sql:$HOME/.pki/nssdb -D -n {file}
    on Linux
  Firefox        Settings, Privacy & Security, Certificates, View Certificates, Authorities:
                 the entry, then Delete or Distrust

  this box       bash serve.sh stop
                 rm -r {folder}
                 and tls.mode = "off" in config/local.toml, or the next start makes another one
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What certificate the settings ask for, and its state."""

    mode: str
    """box: of the box's own authority; own: of the owner's; off."""
    days_left: int | None = None
    """Of the certificate; None if there is none yet."""
    authority_days_left: int | None = None
    fingerprint: str = ""
    readable_by_others: str = ""
    """The file of a private key that others on this machine can read; "" if none."""
    trouble: str = ""
    """Why there is none; "" if there is one, or the next start makes it."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to do with the authority."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--new", action="store_true", help="make another one")
    which.add_argument("--remove", action="store_true", help="tell how to be rid of it")
    which.add_argument("--json", action="store_true", help="print facts, for programs")
    parser.set_defaults(port=None)


def main(options: argparse.Namespace) -> int:
    """Show, replace or explain; 1 if there is none or that fails, 2 for wrong settings."""
    try:
        settings = load(environ=os.environ)
        if options.json:
            sys.stdout.write(json.dumps(asdict(facts(settings, datetime.now(UTC)))) + "\n")
            return 0
        if options.new:
            return _make(settings)
        return _tell(settings, is_removal=options.remove)
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2
    except (AuthorityError, OSError) as error:
        say("lanscribe", secret_files.told(error))
        return 1


def facts(settings: Settings, now: datetime) -> Facts:
    """The state of the certificate in the files; makes none."""
    if settings.tls.mode == "off":
        return Facts("off")
    if is_own(settings.tls):
        return _own_facts(settings, now)
    folder = box_certificate.folder(settings)
    try:
        authority = authorities.load(folder)
    except (AuthorityError, OSError) as error:
        return Facts("box", trouble=secret_files.told(error))
    if authority is None:
        return Facts("box")
    if authority.begin > now and (why := box_certificate.why_not_valid(authority, now)):
        return Facts("box", trouble=f"{folder / authorities.CERTIFICATE_FILE} {why}")
    leaf = leaves.load(folder)
    return Facts(
        "box",
        (leaf.period.end - now).days if leaf else None,
        (authority.end - now).days,
        authorities.fingerprint(authority.certificate),
        _readable(folder / authorities.KEY_FILE),
    )


def _own_facts(settings: Settings, now: datetime) -> Facts:
    try:
        content = secret_files.read(PROJECT_DIR / settings.tls.cert)
        end = x509.load_pem_x509_certificate(content).not_valid_after_utc
    except (OSError, *UNREADABLE) as error:
        why = getattr(error, "strerror", None) or error
        return Facts("own", trouble=f"tls.cert: {settings.tls.cert}: {why}")
    key = PROJECT_DIR / settings.tls.key
    return Facts("own", (end - now).days, readable_by_others=_readable(key))


def _readable(path: Path) -> str:
    try:
        return str(path) if keys.others_can_read(path) else ""
    except OSError:
        return ""


def _make(settings: Settings) -> int:
    old = _certificate_for_devices(box_certificate.folder(settings))
    made = box_certificate.new_authority(settings, datetime.now(UTC))
    say("lanscribe", "made a new authority: every device has to trust this box again")
    if old:
        say(
            "lanscribe",
            f'devices still trust the old one: remove "{authorities.common_name(old)}" there, SHA-1'
            f" {_sha1(old)}, file name {authorities.file_name(old)}; the"
            " steps are those of bash serve.sh trust --remove",
        )
    sys.stdout.write(_shown(settings, made.certificate))
    if is_own(settings.tls) or settings.tls.mode == "off":
        say("lanscribe", "it is not in use: the settings say tls.mode = off or name tls.cert")
    else:
        say("lanscribe", f"a server that runs takes it within {LOOK_EVERY_S:g} s, by itself")
    return 0


def _tell(settings: Settings, *, is_removal: bool) -> int:
    if not is_removal and (why := _why_not_in_use()):
        say("lanscribe", why)
        return 1
    if not is_removal and is_own(settings.tls):
        say(
            "lanscribe",
            f"tls.cert names your own certificate, {settings.tls.cert}, which devices trust if they"
            " know who issued it; the box's own authority is not in use",
        )
        return 1
    folder = box_certificate.folder(settings)
    certificate = _certificate_for_devices(folder) if is_removal else None
    if certificate is None and (authority := authorities.load(folder)):
        certificate = authority.certificate
    if certificate is None:
        say("lanscribe", "this box has no authority yet; the first bash serve.sh makes it")
        return 1
    if is_removal:
        name, file = authorities.common_name(certificate), authorities.file_name(certificate)
        sys.stdout.write(
            _REMOVAL.format(name=name, sha1=_sha1(certificate), file=file, folder=folder)
        )
    else:
        sys.stdout.write(_shown(settings, certificate))
    return 0


def _certificate_for_devices(folder: Path) -> x509.Certificate | None:
    """The certificate that devices have been given; None if it is absent or damaged."""
    try:
        content = secret_files.read(folder / authorities.CERTIFICATE_FILE)
        return x509.load_pem_x509_certificate(content)
    except (OSError, *UNREADABLE):
        return None


def _sha1(certificate: x509.Certificate) -> str:
    """What Windows and macOS know a certificate by."""
    return certificate.fingerprint(SHA1()).hex().upper()


def _why_not_in_use() -> str:
    """Why no running server shows a certificate of the box's own; "" if one does, or none runs."""
    running = _gateways()
    if not running or any(one.tls not in {"own", "off"} for one in running):
        return ""
    one = running[0]
    if one.tls == "off":
        return f"{one} serves no https, so there is nothing to trust; its first lines say why"
    return (
        f"{one} shows your own certificate, which devices trust if they know who issued it; the"
        " box's own authority is not in use"
    )


def _gateways() -> list[Record]:
    with control.running() as servers:
        return [one for one, _ in servers if one.kind == "gateway"]


def _shown(settings: Settings, certificate: x509.Certificate) -> str:
    place = box_certificate.folder(settings) / authorities.CERTIFICATE_FILE
    lines = [
        f"{authorities.common_name(certificate)}, until {certificate.not_valid_after_utc:%Y-%m-%d}",
        f"  fingerprint  SHA-256 {authorities.fingerprint(certificate)}",
        f"  certificate  {place}",
        *(f"  to trust it  {url}" for url in _urls(settings)),
    ]
    return "\n".join(lines) + "\n"


def _urls(settings: Settings) -> list[str]:
    """Where devices find the page that explains it, of the servers that run or would."""
    places = [(one.host, one.port) for one in _gateways() if one.port]
    found = []
    for host, port in places or [(settings.server.host, settings.server.port)]:
        hosts = reachable.shown(host, settings) or ["localhost"]
        found += [f"http://{network.url_host(name)}:{port}/trust" for name in hosts]
    return found
