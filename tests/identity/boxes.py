"""A box whose clock, names and addresses a test sets, and openssl's opinion of its certificates."""

import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lanscribe.identity.box_certificate import BoxCertificate, Machine
from lanscribe.identity.names import own_names

NOW = datetime(2027, 3, 1, tzinfo=UTC)


@dataclass
class Box:
    """A machine that has no network of its own."""

    folder: Path
    hostname: str = "nas"
    addresses: list[str] = field(default_factory=lambda: ["192.168.1.5", "fd00::5", "2001:db8::5"])
    now: datetime = NOW

    def machine(self) -> Machine:
        own = tuple(own_names(self.hostname, ["corp.example"]))
        names = ("lanscribe.local", *own, "localhost")
        return Machine(own, names, tuple(self.addresses), tuple(self.addresses[:1]))

    def certificate(self) -> BoxCertificate:
        """As a server that starts has it."""
        return BoxCertificate(self.folder, self.machine, lambda: self.now)


def verified(authority: Path, leaf: Path, now: datetime, *flags: str) -> str:
    """What openssl says of a leaf for a TLS server; "" if it accepts it."""
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-attime", str(int(now.timestamp())), "-CAfile", str(authority), *flags, str(leaf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def verify_flag(subject: str) -> tuple[str, str]:
    """openssl's flag that asks whether a certificate is for this name or address."""
    is_address = ":" in subject or subject.replace(".", "").isdecimal()
    return ("-verify_ip" if is_address else "-verify_hostname", subject)


ODD_FILES = ("pipe", "folder", "device", "huge")
"""What can be in the place of a file, and would be read for ever, or not at all."""


def put_odd_file(path: Path, kind: str) -> None:
    """Put one of ODD_FILES at a path, in the place of what is there."""
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "huge":
            with path.open("wb") as file:
                file.truncate(2**40)
