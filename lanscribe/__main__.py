"""The program: parse, load the settings, wire the rooms together, run."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lanscribe import __version__, config, delay, doctor, logs, network, plan_report
from lanscribe.engines import load_engine
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ConfigError, LanscribeError
from lanscribe.server import Gateway
from lanscribe.transport import bind, make_server, stop_on_signals

log = logging.getLogger("lanscribe")

_FLAGS = {
    "host": "server.host",
    "port": "server.port",
    "engine": "engine.name",
    "model": "engine.model",
    "sessions": "engine.sessions",
    "log_level": "log.level",
    "log_file": "log.file",
}
"""Flag of the command line -> the setting it overrules."""

_TOOLS: dict[str, Callable[[argparse.Namespace], int]] = {
    "doctor": lambda options: doctor.main(["--json"] if options.json else []),
    "plan": plan_report.run,
    "delay": delay.run,
}
"""Commands that need no settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit status: 0 done, 1 failed, 2 wrong flags or settings."""
    options = _parser().parse_args(arguments)
    if tool := _TOOLS.get(options.command):
        return tool(options)
    try:
        settings = _settings(options)
    except ConfigError as error:
        print(f"lanscribe: {error.public_message}", file=sys.stderr)
        return 2
    if options.command == "print-env":
        print("\n".join(config.environment_lines(settings)))
        return 0
    if options.command == "check-config":
        print("the settings are valid")
        return 0
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lanscribe", description="Live speech to text.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the server")
    _add_settings_flags(serve)
    check = commands.add_parser("check-config", help="check every setting and say what is wrong")
    _add_settings_flags(check)
    print_env = commands.add_parser("print-env", help="print the settings as shell variables")
    _add_settings_flags(print_env)
    examine = commands.add_parser("doctor", help="check this machine and the installation")
    examine.add_argument("--json", action="store_true", help="print for programs")
    plan_report.add_flags(
        commands.add_parser("plan", help="whether Voxtral fits into a GPU's memory")
    )
    delay.add_flags(commands.add_parser("delay", help="a model folder with another delay"))
    return parser


def _add_settings_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file only")
    for flag, setting in _FLAGS.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", help=f"overrules {setting}")


def _settings(options: argparse.Namespace) -> config.Settings:
    given = {flag: getattr(options, flag) for flag in _FLAGS}
    flags = {_FLAGS[flag]: value for flag, value in given.items() if value is not None}
    return config.load(file=options.config, environ=os.environ, flags=flags)


def _serve(settings: config.Settings) -> int:
    try:
        listener = bind(settings.server.host, settings.server.port)
    except OSError as error:
        address = f"{settings.server.host}:{settings.server.port}"
        print(
            f"lanscribe: cannot listen on {address}: {error.strerror}; end what runs there,"
            " or choose another with --port or --host",
            file=sys.stderr,
        )
        return 1
    log_file = logs.set_up(settings.log)
    try:
        asyncio.run(_run(settings, listener, log_file))
    except LanscribeError as error:
        log.error("%s", error.public_message)
        return 1
    return 0


async def _run(settings: config.Settings, listener: socket.socket, log_file: Path | None) -> None:
    """Listen at once, load the engine meanwhile, serve until a signal comes."""
    gateway = Gateway(_with_own_name(settings))
    server = make_server(gateway.app(), settings.limits, gateway.drain)
    stop_on_signals(server)
    serving = asyncio.create_task(server.serve([listener]))
    engine = None
    try:
        engine = await asyncio.to_thread(load_engine, settings.engine)
        gateway.engine_loaded(engine)
        if not server.should_exit:
            print(_banner(listener, engine.describe(), log_file), flush=True)
        await serving
    finally:
        server.should_exit = True
        await serving
        if engine is not None:
            await engine.close()


def _with_own_name(settings: config.Settings) -> config.Settings:
    """Settings that also admit this machine's own name as a Host."""
    hostnames = (*settings.auth.hostnames, socket.gethostname())
    auth = settings.auth.model_copy(update={"hostnames": hostnames})
    return settings.model_copy(update={"auth": auth})


def _banner(listener: socket.socket, engine: EngineInfo, log_file: Path | None) -> str:
    host, port = listener.getsockname()[:2]
    hosts = network.lan_addresses() if host in {"0.0.0.0", "::"} else [host]
    local = hosts[0] if host not in {"0.0.0.0", "::"} else "127.0.0.1"
    return "\n".join(
        [
            f"lanscribe {__version__} is ready.",
            *(f"  clients    ws://{network.url_host(name)}:{port}/v1/realtime" for name in hosts),
            f"  health     http://{network.url_host(local)}:{port}/health",
            f"  engine     {engine.name}, model {engine.model}"
            f" ({', '.join(engine.languages)}), {engine.capacity} sessions at once",
            f"  log        {log_file or 'none'}",
            "  stop       Ctrl-C",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
