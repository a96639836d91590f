"""The records of the servers that run from this folder; each writes its own into .cache/servers.

Standard library only, and little of it: a server writes its record before it imports anything else.
A record lasts as long as its process, through restarts too. The start time tells the process from a
later one with the same number. Code that writes a record, or reads records to act on them, holds
the lock on their folder.
"""

import atexit
import fcntl
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from lanscribe import PROJECT_DIR

Kind = Literal["gateway", "direct"]

RECORDS_DIR = PROJECT_DIR / ".cache" / "servers"
_START_TIME_FIELD = 22
"""The start time's field in /proc/PID/stat, counted from 1 (proc_pid_stat(5))."""
_MAX_PID = 2**31 - 1
"""The largest pid_t."""
_MAX_BYTES = 10_000
"""A record has about 200 bytes, and the refusal."""
_MAX_REFUSAL = 1000
_OPTIONAL = {"is_listening", "refusal", "key_place", "tls", "tls_port"}
"""Fields that the records of older servers do not have."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a server."""

    pid: int
    start_mark: str
    """When the process started; no later process with the same number has the same mark."""
    run: str
    """A name of this run; a restart keeps the process and gets another name."""
    kind: Kind
    host: str
    port: int
    """0 while it is not known."""
    is_listening: bool = True
    """Whether it holds the port now; during a restart it does not, and another may take it."""
    refusal: str = ""
    """Why it has not obeyed the last order to restart; such an order begins a run too."""
    key_place: str = ""
    """Where its key is: a file, or the name of a setting, never the key; "" if it is not known."""
    tls: str = ""
    """Its certificate: box, of its own authority; own, of the owner's; off; "" if not known."""
    tls_port: int = 0
    """Where it listens for https; 0 if it does not, or that is not known."""

    def __str__(self) -> str:
        name = "lanscribe" if self.kind == "gateway" else "vLLM without the gateway"
        where = f" on port {self.port}" if self.port else ""
        return f"{name}{where} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class More:
    """What a gateway adds to its record, for the commands that speak of it."""

    key_place: str = ""
    tls: str = ""
    tls_port: int = 0


NO_MORE = More()
_FIELDS = {field.name for field in fields(Record)}


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock on the records; if that is not possible, go on without it."""
    descriptor = None
    with suppress(OSError):
        RECORDS_DIR.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(RECORDS_DIR, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def begin() -> None:
    """Write the record of this process before it knows where it will listen.

    After a restart the record has the host and port from before.
    """
    with locked():
        before = read(_own_path())
        is_own = before is not None and before.start_mark == start_mark(before.pid)
        host, port = (before.host, before.port) if before and is_own else ("", 0)
        with suppress(OSError):  # `write` reports a failure, once it listens
            run = uuid.uuid4().hex
            record = Record(
                os.getpid(), _own_mark(), run, "gateway", host, port, is_listening=False
            )
            _write(record)
    atexit.register(remove_own)


def write(kind: Kind, host: str, port: int, more: More = NO_MORE) -> None:
    """Write the record of this process; it keeps the run of `begin`, or else begins one."""
    with locked():
        before = read(_own_path())
        is_own = before is not None and before.start_mark == _own_mark()
        run = before.run if before and is_own and before.kind == kind else uuid.uuid4().hex
        try:
            made = Record(os.getpid(), _own_mark(), run, kind, host, port)
            place = _printable(more.key_place)
            _write(replace(made, key_place=place, tls=more.tls, tls_port=more.tls_port))
        except OSError as error:  # nothing else depends on it
            why = f"{_own_path()}: {error.strerror}"
            sys.stderr.write(f"lanscribe: {why}; serve.sh stop will not find it\n")


def refuse_restart(why: str) -> None:
    """Note in the record of this process that an order to restart was not obeyed."""
    told = _printable("; ".join(why.splitlines()))
    with locked(), suppress(OSError):
        if (before := read(_own_path())) is not None:
            _write(replace(before, run=uuid.uuid4().hex, refusal=told))


@contextmanager
def recorded(kind: Kind, host: str, port: int, more: More = NO_MORE) -> Iterator[None]:
    """Keep this process in the records until the context ends."""
    write(kind, host, port, more)
    try:
        yield
    finally:
        remove_own()


def remove_own() -> None:
    """Remove the record of this process."""
    with locked():
        remove(_own_path())


def remove(path: Path) -> None:
    """Remove a record, if that is possible."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MAX_REFUSAL])


def _own_path() -> Path:
    return RECORDS_DIR / f"{os.getpid()}.json"


def _own_mark() -> str:
    return start_mark(os.getpid()) or ""


def _write(record: Record) -> None:
    """Write a record completely or not at all. Raises OSError."""
    temporary = _own_path().with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
    temporary.replace(_own_path())


def read(path: Path) -> Record | None:
    """The record in a file; None if the file holds no valid record."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            found = json.loads(file.read(_MAX_BYTES) or b"")
    except (OSError, ValueError, RecursionError):
        return None
    return Record(**found) if _is_record(found) else None


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer: a pipe would block here and keep the lock for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_record(found: Any) -> bool:
    """Whether `found` has the fields of `Record`, each of its type and within its range."""
    if not isinstance(found, dict) or set(found) | _OPTIONAL != _FIELDS:
        return False
    numbers, texts = ("pid", "port"), ("start_mark", "run", "kind", "host")
    return (
        all(type(found[name]) is int for name in numbers)
        and all(isinstance(found[name], str) and found[name].isprintable() for name in texts)
        and 0 < found["pid"] <= _MAX_PID
        and type(found.get("tls_port", 0)) is int
        and all(0 <= found.get(name, 0) <= 65_535 for name in ("port", "tls_port"))
        and found["kind"] in {"gateway", "direct"}
        and found["start_mark"] != ""
        and type(found.get("is_listening", True)) is bool
        and all(
            isinstance(text := found.get(name, ""), str) and text.isprintable()
            for name in ("refusal", "key_place", "tls")
        )
    )


def start_mark(pid: int) -> str | None:
    """When a process started, in the form of the system; None if it has ended."""
    if Path("/proc/self/stat").exists():
        return _linux_start_mark(pid)
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _linux_start_mark(pid: int) -> str | None:
    """The start in ticks since the boot, and the id of the boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *values = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else f"{values[_START_TIME_FIELD - 4]} {boot}"
