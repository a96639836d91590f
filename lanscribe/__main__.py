"""The program: parse, load the settings, wire the rooms together, run."""

import signal
import sys

if __name__ == "__main__":  # Ctrl-C while it starts: the end, without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:  # before all that takes long, so that a stop finds it
        from lanscribe.admin import orders, records

        if not orders.begin():
            records.remove_own()
            sys.exit(0)
        records.begin()

import argparse
import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from lanscribe import __version__, config
from lanscribe.admin import doctor, records
from lanscribe.admin.orders import Orders
from lanscribe.engines import chosen, load_engine
from lanscribe.engines.base import Engine, EngineInfo
from lanscribe.errors import ConfigError, LanscribeError
from lanscribe.server import discovery, logs, network
from lanscribe.server import wyoming as wyoming_server
from lanscribe.server.doorkeeper import configured_key
from lanscribe.server.gateway import Gateway
from lanscribe.server.tls import server_context
from lanscribe.server.transport import SecureListener, bind, make_server
from lanscribe.vllm import command as vllm_command
from lanscribe.vllm.service import VllmService
from lanscribe.voxtral import delay, plan_report

log = logging.getLogger("lanscribe")

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

_TOOLS: dict[str, Callable[[argparse.Namespace], int]] = {
    "doctor": lambda options: doctor.main(["--json"] if options.json else []),
    "plan": plan_report.run,
    "delay": delay.run,
}
"""Commands that need no settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit status: 0 done, 1 failed, 2 wrong flags or settings."""
    options = _options(arguments)
    if tool := _TOOLS.get(options.command):
        return tool(options)
    try:
        return _obey(options, _settings(options))
    except ConfigError as error:
        print(f"lanscribe: {error.public_message}", file=sys.stderr)
        return 2


def _obey(options: argparse.Namespace, settings: config.Settings) -> int:
    if options.command == "print-env":
        print("\n".join(config.environment_lines(settings)))
        return 0
    if options.rest is not None:
        return _serve_directly(settings, options.rest)
    has_key = configured_key(settings.auth) is not None
    context = server_context(settings.tls)
    if options.command == "check-config":
        print("the settings are valid")
        return 0
    return _serve(settings, context, has_key)


class _Parser(argparse.ArgumentParser):
    """A wrong flag is told in one line."""

    def error(self, message: str) -> NoReturn:
        """End with 2."""
        self.exit(2, f"lanscribe: {message}; --help lists the flags\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says; `rest` is what it says to vLLM, None unless it is direct."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "direct":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest if options.command == "direct" else None
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lanscribe", description="Live speech to text.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the server")
    _add_settings_flags(serve)
    direct = commands.add_parser(
        "direct",
        help="run vLLM itself for the network, without the gateway; further flags are vLLM's",
        allow_abbrev=False,
    )
    for flag in ("host", "port"):
        direct.add_argument(f"--{flag}", help=f"overrules server.{flag}")
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
    meanings = {f"{table}.{key}": text for table, key, text in config.documented_keys()}
    for flag, setting in _FLAGS.items():
        name, meaning = flag.replace("_", "-"), meanings[setting].replace("%", "%%")
        parser.add_argument(f"--{name}", help=f"{meaning} [{setting}]")


def _settings(options: argparse.Namespace) -> config.Settings:
    given = {flag: getattr(options, flag, None) for flag in _FLAGS}
    flags = {_FLAGS[flag]: value for flag, value in given.items() if value is not None}
    file = getattr(options, "config", None)
    return config.load(file=file, environ=os.environ, flags=flags)


def _serve(settings: config.Settings, context: ssl.SSLContext | None, has_key: bool) -> int:
    host = settings.server.host
    listener = _listen(host, settings.server.port, "--port or --host")
    if listener is None:
        return 1
    secure = None
    if context:
        secure_socket = _listen(host, settings.tls.port, "--tls-port or --host")
        if secure_socket is None:
            return 1
        secure = SecureListener(secure_socket, context)
    log_file = logs.set_up(settings.log)
    orders = Orders()
    with records.recorded("gateway", *listener.getsockname()[:2]):
        try:
            asyncio.run(_run(settings, _Doors(listener, secure, has_key), log_file, orders))
        except ConfigError:
            raise
        except LanscribeError as error:
            log.error("%s", error.public_message)
            return 1
        if orders.wants_restart and orders.hold_back():  # the record stays
            log.info("starting again")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0


@dataclass(frozen=True, slots=True)
class _Doors:
    """Where to listen, and whether there is a key for strangers."""

    plain: socket.socket
    secure: SecureListener | None
    has_key: bool


def _listen(host: str, port: int, flags: str) -> socket.socket | None:
    try:
        return bind(host, port)
    except OSError as error:
        print(
            f"lanscribe: cannot listen on {host}:{port}: {error.strerror}; end what runs there,"
            f" or choose another with {flags}",
            file=sys.stderr,
        )
        return None


def _serve_directly(settings: config.Settings, flags: Sequence[str]) -> int:
    """Become vLLM's own server; returns only when that is not possible."""
    try:
        command, environment = vllm_command.direct(settings, flags, os.environ)
    except LanscribeError as error:
        print(f"lanscribe: {error.public_message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return _become_vllm(command, environment, settings.server)


def _become_vllm(
    command: list[str], environment: dict[str, str], server: config.ServerSettings
) -> NoReturn:
    if not environment.get(vllm_command.KEY_VARIABLE):
        print(
            "lanscribe: this is vLLM itself: whoever reaches it may use it, without a limit;"
            f" {vllm_command.KEY_VARIABLE}=... in the environment asks for a key",
            file=sys.stderr,
        )
    records.write("direct", server.host, server.port)
    os.execve(command[0], command, environment)


async def _run(
    settings: config.Settings, doors: _Doors, log_file: Path | None, orders: Orders
) -> None:
    """Listen at once, load the engine meanwhile, serve until a signal."""
    settings = _with_own_name(settings)
    gateway = Gateway(settings)

    async def drain() -> None:
        await gateway.drain(is_restart=orders.wants_restart)

    server = make_server(
        gateway.app(), settings.limits, drain, doors.secure, proxies=settings.auth.proxies
    )
    call_soon = asyncio.get_running_loop().call_soon_threadsafe
    orders.take(lambda: call_soon(lambda: server.stop(at_once=orders.is_in_a_hurry)))
    is_ready = asyncio.Event()
    async with (
        wyoming_server.serving(gateway, settings) as wyoming_port,
        _announced(settings, doors.plain, wyoming_port, is_ready),
    ):

        def ready(engine: Engine) -> None:
            gateway.engine_loaded(engine)
            if not server.should_exit:
                _tell(_banner(settings, doors, wyoming_port, engine.describe(), log_file))
                is_ready.set()

        serving = asyncio.create_task(server.serve([doors.plain]))
        supplying = asyncio.create_task(_supply_engine(settings, gateway, ready, serving))
        try:
            await asyncio.wait({serving, supplying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            await asyncio.wait({serving, supplying})
    orders.served()
    serving.result()
    supplying.result()


def _announced(
    settings: config.Settings,
    listener: socket.socket,
    wyoming_port: int | None,
    is_ready: asyncio.Event,
) -> AbstractAsyncContextManager[None]:
    """Tell the network of this server once it is ready, if that is wished."""
    if not settings.discovery.enabled:
        return nullcontext()
    host, port = listener.getsockname()[:2]
    is_for_others = settings.auth.mode != "key"  # see wyoming_server.check_peer
    services = discovery.services(port, wyoming_port if is_for_others else None)
    find_addresses = partial(discovery.announced_addresses, host)
    return discovery.announced(services, find_addresses, is_ready)


async def _supply_engine(
    settings: config.Settings,
    gateway: Gateway,
    ready: Callable[[Engine], None],
    serving: asyncio.Task[None],
) -> None:
    """Give the gateway its engine, and keep that until the gateway serves no more."""
    name = settings.engine.name
    has_vllm = name == "auto" and await asyncio.to_thread(vllm_command.is_at_hand, settings.vllm)
    engine_settings = settings.engine.model_copy(update={"name": chosen(name, has_vllm=has_vllm)})
    if engine_settings.name == "vllm":
        service = VllmService(settings, os.environ, ready, gateway.set_loading)
        running = asyncio.create_task(service.run())
        await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()
        return
    engine = await asyncio.to_thread(load_engine, engine_settings)
    try:
        ready(engine)
        await asyncio.wait({serving})
    finally:
        await engine.close()


def _with_own_name(settings: config.Settings) -> config.Settings:
    """Settings that also admit this machine's own name as a Host."""
    hostnames = (*settings.auth.hostnames, socket.gethostname())
    auth = settings.auth.model_copy(update={"hostnames": hostnames})
    return settings.model_copy(update={"auth": auth})


def _tell(text: str) -> None:
    """Print; when nobody reads that, the server is no worse."""
    try:
        print(text, flush=True)
    except OSError as error:
        log.warning("cannot print under which addresses it listens: %s", error.strerror)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _banner(
    settings: config.Settings,
    doors: _Doors,
    wyoming_port: int | None,
    engine: EngineInfo,
    log_file: Path | None,
) -> str:
    host, port = doors.plain.getsockname()[:2]
    hosts = network.lan_addresses() if host in {"0.0.0.0", "::"} else [host]
    local = hosts[0] if host not in {"0.0.0.0", "::"} else "127.0.0.1"
    urls = [("ws", name, port) for name in hosts]
    if doors.secure:
        urls += [("wss", name, doors.secure.socket.getsockname()[1]) for name in hosts]
    wyoming = f"tcp://{network.url_host(hosts[0])}:{wyoming_port}"
    if wyoming_port is None:
        wyoming = "none: its port is taken, as said above"
    return "\n".join(
        [
            f"lanscribe {__version__} is ready.",
            *(
                f"  clients    {scheme}://{network.url_host(name)}:{number}/v1/realtime"
                for scheme, name, number in urls
            ),
            *([f"  wyoming    {wyoming}"] if settings.wyoming.enabled else []),
            f"  health     http://{network.url_host(local)}:{port}/health",
            f"  access     {_access(settings.auth, doors.has_key)}",
            f"  engine     {engine.name}, model {engine.model}"
            f" ({', '.join(engine.languages)}), {engine.capacity} sessions at once",
            f"  log        {log_file or 'none'}",
            "  stop       Ctrl-C",
        ]
    )


def _access(auth: config.AuthSettings, has_key: bool) -> str:
    """Who may come in; never the key itself, for the banner is kept by whoever runs this."""
    place = "the settings" if auth.key.get_secret_value() else auth.key_file
    if auth.mode == "open":
        return "anybody who can reach it"
    if auth.mode == "key":
        return f"only with the key in {place}"
    return f"the home network{f'; others with the key in {place}' if has_key else ''}"


if __name__ == "__main__":
    sys.exit(main())
