"""vLLM itself for the network, without the gateway: `serve.sh --direct`."""

import argparse
import os
from typing import NoReturn

from lanscribe import config
from lanscribe.admin import records
from lanscribe.admin.sources import FLAGS, load
from lanscribe.errors import ConfigError, LanscribeError
from lanscribe.installation import say
from lanscribe.vllm import command as vllm_command

_OWN_FLAGS = ("host", "port", "max_model_len", "gpu_memory_utilization")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that lanscribe reads; all others are vLLM's."""
    for flag in _OWN_FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", help=f"overrules {FLAGS[flag]}")


def main(options: argparse.Namespace) -> int:
    """Replace this process by vLLM's own server; returns only when that is not possible."""
    flags = {FLAGS[name]: getattr(options, name) for name in _OWN_FLAGS}
    given = {setting: value for setting, value in flags.items() if value is not None}
    try:
        settings = load(environ=os.environ, flags=given)
        vllm = settings.model_copy(update={"engine": config.EngineSettings(name="vllm")})
        vllm_command.note_on_asked(vllm)
        command, environment = vllm_command.direct(settings, options.rest, os.environ)
    except LanscribeError as error:
        say("lanscribe", error.public_message)
        return 2 if isinstance(error, ConfigError) else 1
    return _become_vllm(command, environment, settings.server)


def _become_vllm(
    command: list[str], environment: dict[str, str], server: config.ServerSettings
) -> NoReturn:
    if not environment.get(vllm_command.KEY_VARIABLE):
        say(
            "lanscribe",
            "this is vLLM itself: anybody who can reach it may use it without limits; to require"
            f" a key, set {vllm_command.KEY_VARIABLE}=... in the environment",
        )
    records.write("direct", server.host, server.port)
    os.execve(command[0], command, environment)
