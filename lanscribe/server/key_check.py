"""What a client may show instead of coming from home: the key, or the pass of a browser.

The key and the secret of all passes are read again when their files change, so a new one counts at
once, in a running server too.
"""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from lanscribe import PROJECT_DIR
from lanscribe.config import AuthSettings, Settings
from lanscribe.errors import AuthError, ConfigError, GuessError
from lanscribe.identity import secret_files
from lanscribe.server import keys, passes
from lanscribe.server.access import has_key
from lanscribe.server.crowd import WarningPaces
from lanscribe.server.guesses import Guesses

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_TOO_MANY = (
    "%.200r has shown too many wrong keys: its keys are ignored for %.0f s",
    "%.200r has shown too many wrong keys, perhaps from a web page that is open there: such keys"
    " are ignored for %.0f s",
)
_MOST_KEYS = 4
"""How many keys of a request are compared; a client that sends its key in several ways has two."""
_MOST_PASSES = 4
"""How many cookies of the name are looked at; a browser sends one."""


def configured_key(auth: AuthSettings) -> str | None:
    """The key; None if absent and not needed.

    Raises ConfigError if it is absent in key mode, and if it is not usable.
    """
    if key := auth.key.get_secret_value():
        keys.check(key, auth.key_name, "choose another")
        return key
    if auth.mode == "open":
        return None
    path = PROJECT_DIR / auth.key_file
    key_in_file = keys.read(path)
    if key_in_file is None and auth.mode == "key":
        raise ConfigError(
            f'auth.mode: got "key", but there is no key in {path}; bash serve.sh key make makes'
            " one there, as bash setup.sh does in config/key; or set LANSCRIBE_AUTH_KEY"
        )
    return key_in_file


def sign_in_file(settings: Settings) -> Path:
    """The file of the secret that signs all passes."""
    return PROJECT_DIR / settings.server.state_dir / "sign-in"


def _sign_in_secret(path: Path) -> str | None:
    return keys.read(path, "bash serve.sh key --sign-out")


class KeyCheck:
    """Compares keys and passes, and lets nobody guess for long."""

    def __init__(
        self,
        auth: AuthSettings,
        sign_in_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """sign_in_file: of the secret that signs passes; None if nobody signs in here.

        clock: seconds since any moment. wall_clock: seconds since 1970. Raises ConfigError as
        `configured_key` does.
        """
        self._given = auth.key.get_secret_value()
        self._clock = clock
        self._wall_clock = wall_clock
        self._guesses = Guesses()
        self.warnings = WarningPaces()
        self._key_file = _Watched(PROJECT_DIR / auth.key_file, keys.read)
        self._sign_in_file = _Watched(sign_in_file, _sign_in_secret) if sign_in_file else None
        self.is_needed = auth.mode != "open"
        configured_key(auth)

    @property
    def key(self) -> str | None:
        """The key that counts now; None if there is none, then nobody gets in by one."""
        return self._given or (self._key_file.value() if self.is_needed else None)

    def check(
        self,
        offered: Iterable[str],
        address: str,
        foreign: AuthError | None = None,
        *,
        is_by_page: bool = False,
    ) -> None:
        """Admit a sender with the right key.

        foreign: why it needs one. is_by_page: whether a web page of another site may have sent
        the keys, so that they pause such keys alone. Raises AuthError for a wrong key, and
        GuessError while the keys of its address are not compared.
        """
        now_s = self._clock()
        if (pause_s := self._guesses.pause_s(address, now_s, is_by_page=is_by_page)) > 0:
            raise GuessError(pause_s)
        shown = list(dict.fromkeys(offered))[:_MOST_KEYS]
        if has_key(shown, self.key):
            self._guesses.right(address, now_s)
            return
        pause_s = self._guesses.wrong(address, len(shown), now_s, is_by_page=is_by_page)
        if pause_s > 0:
            level = logging.WARNING if self.warnings.may_warn(now_s) else logging.DEBUG
            log.log(level, _TOO_MANY[is_by_page], address, pause_s)
        without = f", and without it {foreign}" if foreign else ""
        raise unauthorized(f"got a wrong key{without}") from foreign

    def has_pass(self, shown: Iterable[str]) -> bool:
        """Whether one of the passes of a browser is valid."""
        secret = self._secret()
        if secret is None:
            return False
        now_s = self._wall_clock()
        some = list(dict.fromkeys(shown))[:_MOST_PASSES]
        return any(passes.is_valid(one, secret, now_s) for one in some)

    def new_pass(self) -> str:
        """A pass for a browser that has shown the key.

        Raises OSError if the secret for it cannot be stored, ConfigError if that is not one.
        """
        assert self._sign_in_file is not None
        path = self._sign_in_file.path
        secret_files.make_folder(path.parent)
        if not keys.make(path) and keys.is_empty(path):
            keys.replace(path)
        _sign_in_secret(path)
        secret = self._secret()
        if secret is None:
            raise ConfigError("the key has gone since it was compared")
        return passes.make(secret, self._wall_clock())

    def _secret(self) -> bytes | None:
        random = self._sign_in_file.value() if self._sign_in_file else None
        key = self.key
        return passes.signing_secret(key, random) if key and random else None


def unauthorized(why: str) -> AuthError:
    """The refusal of a sender that needs the key."""
    how = "the key goes into 'Authorization: Bearer KEY', or ?api_key=KEY"
    return AuthError("unauthorized", f"{why}; {how}")


class _Watched(Generic[_T]):
    """What is in a file, read again when the file has changed."""

    def __init__(self, path: Path, read: Callable[[Path], _T | None]) -> None:
        """read: raises ConfigError for a file that is not as it should be."""
        self.path = path
        self._read = read
        self._seen: secret_files.Mark | None = ()
        self._value: _T | None = None

    def value(self) -> _T | None:
        """What is in the file now; None if it is absent, or not as it should be."""
        seen = secret_files.mark(self.path)
        if seen != self._seen:
            self._seen = seen
            self._value = self._read_or_warn()
        return self._value

    def _read_or_warn(self) -> _T | None:
        try:
            return self._read(self.path)
        except ConfigError as error:
            log.warning("nobody gets in by it: %s", error.public_message)
            return None
