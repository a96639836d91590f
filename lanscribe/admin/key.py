"""The key for devices outside the home network: `serve.sh key`. Before setup `make` works too.

bash serve.sh key         show the key in force, on stdout
bash serve.sh key make    make config/key, unless it is there
"""

import argparse
import os
import sys

from lanscribe.errors import ConfigError
from lanscribe.installation import say
from lanscribe.server import keys

_PLACE = "config/key"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to do with the key."""
    parser.add_argument("action", nargs="?", default="show", choices=("show", "make"))


def main(options: argparse.Namespace) -> int:
    """Show or make the key; 1 if it is absent or cannot be made, 2 for wrong settings."""
    return _make() if options.action == "make" else _show()


def _make() -> int:
    try:
        if keys.make():
            say("setup", f"made a key for devices outside the home network: {_PLACE}")
        else:
            sys.stdout.write(f"{_PLACE} is there already; to make a new one, remove it first\n")
    except OSError as error:
        say("setup", f"{keys.KEY_FILE}: {error.strerror}")
        return 1
    return 0


def _show() -> int:
    from lanscribe.admin.sources import load  # noqa: PLC0415  setup.sh makes the key before pydantic is there
    from lanscribe.server.doorkeeper import configured_key  # noqa: PLC0415  as above

    try:
        key = configured_key(load(environ=os.environ).auth)
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2
    if key is None:
        say("lanscribe", "there is no key; bash serve.sh key make makes one")
        return 1
    sys.stdout.write(f"{key}\n")
    return 0
