"""The key for devices outside the home network: `serve.sh key`. Before setup `make` works too.

bash serve.sh key         show the key, on stdout
bash serve.sh key make    make the file with the key, unless it is there
"""

import argparse
import os
import sys
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.errors import ConfigError
from lanscribe.installation import say
from lanscribe.server import keys


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to do with the key."""
    parser.add_argument("action", nargs="?", default="show", choices=("show", "make"))


def main(options: argparse.Namespace) -> int:
    """Show or make the key; 1 if it is absent or cannot be made, 2 for wrong settings."""
    try:
        return _make() if options.action == "make" else _show()
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2


def _make() -> int:
    place, name = _key_file()
    try:
        if keys.make(place):
            say("lanscribe", f"made a key for devices outside the home network: {name}")
        else:
            sys.stdout.write(f"{name} is there already; to make a new one, remove it first\n")
    except OSError as error:
        say("lanscribe", f"{place}: {error.strerror}")
        return 1
    return 0


def _key_file() -> tuple[Path, str]:
    """The file of the key, and its name for people: that of the settings, if they can be read."""
    try:
        from lanscribe.admin.sources import load  # noqa: PLC0415  before setup there is no pydantic
    except ModuleNotFoundError:
        return keys.KEY_FILE, "config/key"
    name = load(environ=os.environ).auth.key_file
    return PROJECT_DIR / name, name


def _show() -> int:
    from lanscribe.admin.sources import load  # noqa: PLC0415  as above

    auth = load(environ=os.environ).auth
    if auth.mode == "open":
        say("lanscribe", 'auth.mode is "open": everybody is admitted, with or without a key')
    key = auth.key.get_secret_value() or keys.read(PROJECT_DIR / auth.key_file)
    if key is None:
        say("lanscribe", f"there is no key in {auth.key_file}; bash serve.sh key make makes one")
        return 1
    sys.stdout.write(f"{key}\n")
    return 0
