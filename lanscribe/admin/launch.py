"""The commands that read the settings: `serve`, `check-config` and `print-env`."""

import argparse
import os
import sys
from pathlib import Path

from lanscribe import config
from lanscribe.admin import serving
from lanscribe.admin.environment import environment_lines
from lanscribe.admin.sources import load
from lanscribe.errors import ConfigError
from lanscribe.installation import say
from lanscribe.server.doorkeeper import configured_key
from lanscribe.server.tls import server_context

_FLAGS = {
    "host": "server.host",
    "port": "server.port",
    "auth": "auth.mode",
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_port": "tls.port",
    "engine": "engine.name",
    "model": "engine.model",
    "sessions": "engine.sessions",
    "profile": "vllm.profile",
    "delay_ms": "vllm.delay_ms",
    "log_level": "log.level",
    "log_file": "log.file",
}
"""Flag of the command line -> the setting it overrules."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that overrule settings."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file only")
    meanings = {f"{table}.{key}": text for table, key, text in config.documented_keys()}
    for flag, setting in _FLAGS.items():
        name, meaning = flag.replace("_", "-"), meanings[setting].replace("%", "%%")
        parser.add_argument(f"--{name}", help=f"{meaning} [{setting}]")


def main(options: argparse.Namespace) -> int:
    """Run the command; 0 done, 1 failed, 2 wrong settings."""
    try:
        return _obey(options.word, _settings(options))
    except ConfigError as error:
        say("lanscribe", error.public_message)
        return 2


def _settings(options: argparse.Namespace) -> config.Settings:
    given = {flag: getattr(options, flag) for flag in _FLAGS}
    flags = {_FLAGS[flag]: value for flag, value in given.items() if value is not None}
    return load(file=options.config, environ=os.environ, flags=flags)


def _obey(word: str, settings: config.Settings) -> int:
    if word == "print-env":
        sys.stdout.write("\n".join(environment_lines(settings)) + "\n")
        return 0
    has_key = configured_key(settings.auth) is not None
    context = server_context(settings.tls)
    if word == "check-config":
        sys.stdout.write("the settings are valid\n")
        return 0
    return serving.serve(settings, context, has_key)
