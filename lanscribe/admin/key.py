"""The key for devices outside the home network: `serve.sh key`. Before setup `make` works too.

bash serve.sh key               show the key, on stdout
bash serve.sh key make          make the file with the key, unless it is there
bash serve.sh key new           replace the key; what has the old one is let in no more
bash serve.sh key --sign-out    sign out all browsers that have signed in with the key
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.admin import control
from lanscribe.admin.records import Record
from lanscribe.errors import ConfigError
from lanscribe.installation import say
from lanscribe.server import keys


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to do with the key."""
    parser.add_argument("action", nargs="?", choices=("show", "make", "new"))
    parser.add_argument("--sign-out", action="store_true", help="sign out all browsers")


def main(options: argparse.Namespace) -> int:
    """Show or change the key; 1 if it is absent or cannot be changed, 2 for wrong settings."""
    if options.sign_out and options.action:
        say("lanscribe", f"got {options.action} and --sign-out; expected one of them")
        return 2
    actions: dict[str, Callable[[], int]] = {"show": _show, "make": _make, "new": _renew}
    try:
        return _sign_out() if options.sign_out else actions[options.action or "show"]()
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2


def _make() -> int:
    place, name = _key_file()
    try:
        if keys.make(place):
            say("lanscribe", f"made a key for devices outside the home network: {name}")
        else:
            sys.stdout.write(f"{name} is there already; bash serve.sh key new replaces it\n")
    except OSError as error:
        say("lanscribe", f"{place}: {error.strerror}")
        return 1
    return 0


def _renew() -> int:
    from lanscribe.admin.sources import load  # noqa: PLC0415  before setup there is no pydantic

    auth = load(environ=os.environ).auth
    if auth.key.get_secret_value():
        say(
            "lanscribe",
            f"no new key was made: {auth.key_name} is set and is the key, so {auth.key_file} has no"
            f" effect; change {auth.key_name} instead, then: bash serve.sh restart",
        )
        return 1
    try:
        keys.replace(PROJECT_DIR / auth.key_file)
    except OSError as error:
        say("lanscribe", f"{auth.key_file}: {error.strerror}; the key is the old one")
        return 1
    with control.running() as servers:
        others, is_elsewhere = _elsewhere([one for one, _ in servers], auth.key_file)
    for one in others:
        say(
            "lanscribe",
            f"the new key has no effect in {one}: its key is that in {one.key_place}, and key new"
            f" changes {auth.key_file} only; change {one.key_place} where that server is started,"
            " then start it again",
        )
    if is_elsewhere:
        return 1
    say(
        "lanscribe",
        f"made a new key: {auth.key_file}. It counts at once, also in a running server: apps that"
        " have the old one need the new one, which bash serve.sh key shows, and all browsers are"
        " signed out",
    )
    _note_on_mode(auth.mode)
    return 0


def _sign_out() -> int:
    from lanscribe.admin.sources import load  # noqa: PLC0415  as above
    from lanscribe.server.key_check import sign_in_file  # noqa: PLC0415  as above

    place = sign_in_file(load(environ=os.environ))
    if not place.exists():
        say("lanscribe", "no browser has signed in yet, so none is signed out")
        return 0
    try:
        keys.replace(place)
    except OSError as error:
        say("lanscribe", f"{place}: {error.strerror}; the browsers are still signed in")
        return 1
    say("lanscribe", "all browsers are signed out, also in a running server; the key is the same")
    return 0


def _key_file() -> tuple[Path, str]:
    """The file of the key, and its name for people: that of the settings, if they can be read."""
    try:
        from lanscribe.admin.sources import load  # noqa: PLC0415  before setup there is no pydantic
    except ModuleNotFoundError:
        return keys.KEY_FILE, "config/key"
    name = load(environ=os.environ).auth.key_file
    return PROJECT_DIR / name, name


def _elsewhere(servers: Sequence[Record], place: str) -> tuple[list[Record], bool]:
    """The servers whose key is not the one in `place`, and whether that counts in no server."""
    known = [one for one in servers if one.key_place]
    others = [one for one in known if one.key_place != place]
    return others, bool(others) and len(others) == len(known)


def _show() -> int:
    from lanscribe.admin.sources import load  # noqa: PLC0415  as above

    auth = load(environ=os.environ).auth
    _note_on_mode(auth.mode)
    with control.running() as servers:
        others, is_elsewhere = _elsewhere([one for one, _ in servers], auth.key_place)
    for one in others:
        say("lanscribe", f"the key of {one} is that in {one.key_place}, not in {auth.key_place}")
    if is_elsewhere:
        say("lanscribe", f"the key in {auth.key_place} is not shown: it counts in no server here")
        return 1
    key = auth.key.get_secret_value() or keys.read(PROJECT_DIR / auth.key_file)
    if key is None:
        say("lanscribe", f"there is no key in {auth.key_file}; bash serve.sh key make makes one")
        return 1
    sys.stdout.write(f"{key}\n")
    return 0


def _note_on_mode(mode: str) -> None:
    if mode == "open":
        say("lanscribe", 'auth.mode is "open": everybody is admitted, with or without a key')
