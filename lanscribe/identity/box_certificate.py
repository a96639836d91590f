"""The box's own certificate: an authority, made once, and a leaf that follows the machine."""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ifaddr

from lanscribe import PROJECT_DIR
from lanscribe.config import Settings
from lanscribe.identity import authority as authorities
from lanscribe.identity import leaf as leaves
from lanscribe.identity import reachable, secret_files, surroundings, terms
from lanscribe.identity.adapters import addresses_of
from lanscribe.identity.authority import Authority, AuthorityError
from lanscribe.identity.kept_name import KeptName
from lanscribe.identity.leaf import Leaf
from lanscribe.identity.local_name import full_name
from lanscribe.identity.public_suffixes import public_suffixes
from lanscribe.identity.shown import Shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine is called, and where it is, now."""

    own_names: tuple[str, ...]
    """As names.own_names finds them, the bare one first."""
    names: tuple[str, ...]
    """All its names, the own ones too."""
    addresses: tuple[str, ...]
    """Those of all adapters."""
    best: tuple[str, ...]
    """The addresses that others should try first."""


def folder(settings: Settings) -> Path:
    """Where the authority and the leaf are kept."""
    return PROJECT_DIR / settings.server.state_dir / "tls"


def this_machine(settings: Settings) -> Machine:
    """The names and addresses of this machine. Raises OSError if they cannot be listed."""
    own = tuple(surroundings.machine_names())
    kept = KeptName.of(settings).name  # another box may have the first
    names = (*filter(None, [kept]), full_name(settings.discovery.name), *own)
    addresses = tuple(addresses_of(ifaddr.get_adapters()))
    best = reachable.shown(settings.server.host, settings)
    return Machine(own, (*names, *settings.auth.hostnames, "localhost"), addresses, (*best, *names))


class BoxCertificate:
    """Keeps the certificate in step with the clock, the machine and its authority."""

    def __init__(
        self,
        folder: Path,
        find: Callable[[], Machine],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """find: asks for the names and addresses, as this_machine does."""
        self._folder = folder
        self._find = find
        self._clock = clock
        self._authority: Authority | None = None
        self._mark: secret_files.Mark | None = None
        self._leaf: Leaf | None = None
        self._left_out: set[str] = set()

    def look(self) -> Shown:
        """What to show now; makes what is due. Raises AuthorityError or OSError."""
        now, machine = self._clock(), self._find()
        authority = self._current_authority(machine, now)
        if self._leaf is None or not self._leaf.is_of(authority):
            self._leaf = leaves.load(self._folder)
        wanted = self._wanted(machine, authority)
        if why := self._why_due(authority, wanted, now):
            self._leaf = self._renewed(authority, wanted, now)
            log.info(
                "made a certificate for %s: %s", ", ".join((*wanted.names, *wanted.addresses)), why
            )
        assert self._leaf is not None
        names = terms.best_first(self._leaf.subjects, machine.best)
        return Shown(self._leaf.context, authority.certificate, names)

    def _current_authority(self, machine: Machine, now: datetime) -> Authority:
        """That of the folder, which another process may have replaced, or a new one."""
        mark = secret_files.mark(self._folder / authorities.KEY_FILE)
        if self._authority is None or mark is None or mark != self._mark:
            self._authority, self._mark = self._load(machine, now), mark
        if why := why_not_valid(self._authority, now):
            raise AuthorityError(f"{self._folder / authorities.CERTIFICATE_FILE} {why}")
        return self._authority

    def _load(self, machine: Machine, now: datetime) -> Authority:
        with secret_files.locked(self._folder):
            if self._authority and not (self._folder / authorities.KEY_FILE).exists():
                authorities.save(self._folder, self._authority)
                log.warning(
                    "%s had vanished while the server runs: it has put its authority back, which"
                    " devices trust; to get another one: bash serve.sh trust --new",
                    self._folder / authorities.KEY_FILE,
                )
                return self._authority
            found = authorities.load(self._folder)
            if found is not None:
                authorities.mend_copy(self._folder, found)
                return found
            _check_clock(now)
            made = authorities.make(machine.own_names, now)
            authorities.save(self._folder, made)
        log.info("made an authority in %s; bash serve.sh qr leads devices to it", self._folder)
        return made

    def _wanted(self, machine: Machine, authority: Authority) -> terms.Subjects:
        names = list(dict.fromkeys(name.lower().rstrip(".") for name in machine.names))
        public = public_suffixes(names)
        possible = [name for name in names if name not in public]
        wanted = terms.wanted(possible, machine.addresses, authority.permitted_names)
        left_out = set(names) - set(wanted.names)
        if left_out - self._left_out:
            self._tell_left_out(left_out - public, left_out & public, machine)
        self._left_out = left_out
        return wanted

    def _tell_left_out(self, unpermitted: set[str], public: set[str], machine: Machine) -> None:
        if unpermitted:
            log.warning(
                "not in the certificate, because the authority does not permit it: %s",
                ", ".join(sorted(unpermitted)),
            )
        if public:
            log.warning(
                "not in the certificate, because it is a public suffix, below which others have"
                " domains: %s; use %s",
                ", ".join(sorted(public)),
                " or ".join(name for name in machine.names if name.endswith(".local")),
            )

    def _why_due(self, authority: Authority, wanted: terms.Subjects, now: datetime) -> str:
        leaf = self._leaf
        if leaf is None:
            return "there was none"
        if not leaf.is_of(authority):
            return "the authority is a new one"
        if now < terms.EARLIEST:
            return ""
        return terms.why_due(leaf.subjects, leaf.period, wanted, now, authority.end)

    def _renewed(self, authority: Authority, wanted: terms.Subjects, now: datetime) -> Leaf:
        _check_clock(now)
        content = leaves.issue(authority, wanted, socket.gethostname(), now)
        with secret_files.locked(self._folder):
            leaves.save(self._folder, content)
            made = leaves.load(self._folder)
        if made is None:
            path = self._folder / leaves.FILE
            raise OSError(f"{path} cannot be read back; see whether its disk is full")
        return made


def new_authority(settings: Settings, now: datetime) -> Authority:
    """Make another authority, whatever the folder holds. Raises AuthorityError or OSError."""
    _check_clock(now)
    place = folder(settings)
    made = authorities.make(surroundings.machine_names(), now)
    with secret_files.locked(place):
        authorities.save(place, made)
    return made


def why_not_valid(authority: Authority, now: datetime) -> str:
    """Why an authority is of no use now, and what to do; "" if it is valid.

    A clock that has not been set says nothing.
    """
    remedy = "bash serve.sh trust --new makes another, which each device has to trust again"
    if authority.end <= now:
        return f"has ended on {authority.end:%Y-%m-%d}; {remedy}"
    if terms.EARLIEST <= now < authority.begin:
        return (
            f"is valid only from {authority.begin:%Y-%m-%d} on, and the clock of this machine says"
            f" {now:%Y-%m-%d}; if the clock is right, {remedy}"
        )
    return ""


def _check_clock(now: datetime) -> None:
    if now < terms.EARLIEST:
        raise AuthorityError(
            f"the clock of this machine says {now:%Y-%m-%d}; expected a day after"
            f" {terms.EARLIEST:%Y-%m-%d}; set it, and the server makes its certificate by itself"
        )
