"""The commands that read the settings: `serve`, `check-config` and `print-env`."""

import argparse
import os
import sys
from pathlib import Path

from lanscribe import config
from lanscribe.admin import serving
from lanscribe.admin.environment import environment_lines
from lanscribe.admin.sources import FLAGS, load
from lanscribe.errors import ConfigError
from lanscribe.identity import certificates
from lanscribe.installation import say
from lanscribe.server.key_check import configured_key
from lanscribe.vllm import command as vllm_command


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that overrule settings."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file only")
    meanings = {f"{table}.{key}": text for table, key, text in config.documented_keys()}
    for flag, setting in FLAGS.items():
        name, meaning = flag.replace("_", "-"), meanings[setting].replace("%", "%%")
        parser.add_argument(f"--{name}", help=f"{meaning} [{setting}]")
    parser.add_argument("--serve", action="store_true", help="nothing: it serves without it too")


def main(options: argparse.Namespace) -> int:
    """Run the command; 0 done, 1 failed, 2 wrong settings."""
    try:
        if options.word == "serve":
            return serving.serve(lambda: _prepared(options))
        return _tell(options)
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2


def _settings(options: argparse.Namespace) -> config.Settings:
    given = {flag: getattr(options, flag) for flag in FLAGS}
    flags = {FLAGS[flag]: value for flag, value in given.items() if value is not None}
    return load(file=options.config, environ=os.environ, flags=flags)


def _tell(options: argparse.Namespace) -> int:
    """Run `check-config` or `print-env`. Raises ConfigError."""
    if options.word == "print-env":
        sys.stdout.write("\n".join(environment_lines(_settings(options))) + "\n")
        return 0
    if note := _prepared(options).note:
        say("lanscribe", note)
    sys.stdout.write("the settings are valid\n")
    return 0


def _prepared(options: argparse.Namespace) -> serving.Prepared:
    """The settings, and what else has to be right before the server starts. Raises ConfigError."""
    settings = _settings(options)
    vllm_command.flags(settings.vllm)
    has_key = configured_key(settings.auth) is not None
    shown = certificates.of(settings)
    return serving.Prepared(settings, shown, has_key, vllm_command.note_on_asked(settings))
