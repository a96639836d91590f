"""Runs the server: the only place where the rooms are wired together."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lanscribe import config
from lanscribe.admin import qr, records
from lanscribe.admin.banner import Doors, banner
from lanscribe.admin.orders import Orders
from lanscribe.engines import chosen, load_engine
from lanscribe.engines.base import Engine
from lanscribe.errors import ConfigError, LanscribeError
from lanscribe.identity import certificates, network, reachable
from lanscribe.identity.certificates import Certificates
from lanscribe.identity.kept_name import KeptName
from lanscribe.installation import say
from lanscribe.server import discovery, keys, logs
from lanscribe.server import wyoming as wyoming_server
from lanscribe.server.gateway import Gateway
from lanscribe.server.transport import SecureListener, bind, make_server
from lanscribe.server.trust import Trust
from lanscribe.vllm import command as vllm_command
from lanscribe.vllm.service import VllmService

log = logging.getLogger("lanscribe")

_NAMING_S = 1.2
"""How long the banner waits for this box's name in multicast DNS."""


_ONLY_IPV6 = (
    'other devices do not reach this server: server.host is "0.0.0.0", which is IPv4 only, and this'
    ' machine has IPv6 addresses only; set server.host = "::"'
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a server needs, read and found to be right."""

    settings: config.Settings
    certificates: Certificates | None
    """For TLS; None without it."""
    has_key: bool
    note: str
    """Which settings have no effect here; empty if all have."""


def serve(prepare: Callable[[], Prepared]) -> int:
    """Listen, serve until a signal; 0 after an order to end, 1 when it could not serve.

    prepare: called again before a restart. Raises ConfigError if that does at the start.
    """
    prepared = prepare()
    settings = prepared.settings
    doors = _doors(prepared)
    if doors is None:
        return 1
    log_file = logs.set_up(settings.log)
    if prepared.note:
        log.warning("%s", prepared.note)
    orders = Orders()
    if reachable.lacks_ipv4(settings.server.host):
        log.warning("%s", _ONLY_IPV6)
    if doors.secure_trouble:
        log.warning("no TLS: %s", doors.secure_trouble)
    if doors.certificates:
        doors.certificates.look()
        _warn_of_readable_keys(settings)
    host, port = doors.plain.getsockname()[:2]
    with records.recorded("gateway", host, port, _more(settings, doors)):
        try:
            asyncio.run(_run(settings, doors, log_file, Obedience(orders, prepare)))
        except ConfigError:
            raise
        except LanscribeError as error:
            log.error("%s", error.public_message)
            return 1
        except Exception:
            log.exception("the server has ended by a defect")
            return 1
        if orders.wants_restart and orders.hold_back():  # the record stays
            log.info("starting again")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0


def _more(settings: config.Settings, doors: Doors) -> records.More:
    """Where the key is and whose certificate is shown, for the record of this server."""
    place = settings.auth.key_place
    if doors.secure is None or doors.certificates is None:
        return records.More(place, "off")
    owner = "own" if doors.certificates.is_owners else "box"
    return records.More(place, owner, doors.secure.port)


class Obedience:
    """How a running server obeys its orders: it restarts only with settings that are right."""

    def __init__(self, orders: Orders, prepare: Callable[[], object]) -> None:
        self.orders = orders
        self._prepare = prepare

    def obey(self, stop: Callable[[], None]) -> None:
        """Stop, unless the order is a restart that would not come back."""
        if self.orders.wants_restart and (why := self._why_not()):
            self.orders.withdraw_restart()
            log.error("not restarted, because the settings are wrong; it runs on: %s", why)
            records.refuse_restart(why)
            return
        stop()

    def _why_not(self) -> str:
        try:
            self._prepare()
        except ConfigError as error:
            return error.public_message
        return ""


def _warn_of_readable_keys(settings: config.Settings) -> None:
    """Warn if others on this machine can read the private key behind the certificate."""
    path = certificates.key_file(settings)
    with suppress(OSError):
        if keys.others_can_read(path):
            log.warning("others on this machine can read %s; chmod 600 %s", path, path)


def _doors(prepared: Prepared) -> Doors | None:
    """Listen; None, and the reason is told, if that is not possible."""
    settings, shown = prepared.settings, prepared.certificates
    host = settings.server.host
    listener = _listen(host, settings.server.port, "port")
    if isinstance(listener, str):
        say("lanscribe", listener)
        return None
    plain = Doors(listener, prepared.has_key)
    if shown is None:
        return plain
    secure: socket.socket | str
    if settings.tls.port == settings.server.port != 0:
        secure = (
            f"server.port and tls.port are both {settings.tls.port}; http and https need a port"
            " each: choose another with --tls-port"
        )
    else:
        secure = _listen(host, settings.tls.port, "tls-port")
    if not isinstance(secure, str):
        door = SecureListener(secure, shown.context)
        return replace(plain, secure=door, certificates=shown)
    if certificates.is_own(settings.tls):
        listener.close()
        say("lanscribe", secure)
        return None
    return replace(plain, secure_trouble=secure)


def _listen(host: str, port: int, flag: str) -> socket.socket | str:
    """A listening socket, or why there is none."""
    try:
        return bind(host, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name can be written like that
        return network.why_not_listening(host, port, error, flag, reachable.addresses("0.0.0.0"))


async def _run(
    settings: config.Settings, doors: Doors, log_file: Path | None, obedience: Obedience
) -> None:
    """Listen at once, load the engine meanwhile, serve until a signal."""
    orders = obedience.orders
    trust = _trust(doors)
    gateway = Gateway(settings, trust=trust)

    async def drain() -> None:
        await gateway.drain(is_restart=orders.wants_restart)

    server = make_server(
        gateway.app(), settings.limits, drain, doors.secure, proxies=settings.auth.proxies
    )
    call_soon = asyncio.get_running_loop().call_soon_threadsafe

    def stop() -> None:
        server.stop(at_once=orders.is_in_a_hurry)

    orders.take(lambda: call_soon(obedience.obey, stop))
    async with (
        certificates.followed(doors.certificates),
        wyoming_server.serving(gateway, settings) as wyoming_port,
        _announced(settings, doors, wyoming_port) as announcement,
        asyncio.TaskGroup() as telling,
    ):

        async def tell(engine: Engine) -> None:
            name = await announcement.name(_NAMING_S) if announcement else ""
            await asyncio.to_thread(_take_name, name, doors.certificates)
            text = banner(settings, doors, wyoming_port, engine.describe(), log_file, name)
            address = trust.scanned_url() if trust else ""
            _tell(text + qr.at_start(address, sys.stdout, os.environ))

        def ready(engine: Engine) -> None:
            gateway.engine_loaded(engine)
            if not server.should_exit:
                telling.create_task(tell(engine))
                if announcement:
                    announcement.begin()

        serving = asyncio.create_task(server.serve([doors.plain]))
        supplying = asyncio.create_task(_supply_engine(settings, gateway, ready, serving))
        try:
            await asyncio.wait({serving, supplying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            await asyncio.wait({serving, supplying})
            gateway.close()
    orders.served()
    serving.result()
    supplying.result()


def _take_name(name: str, shown: Certificates | None) -> None:
    """Have the name that was found in the box's certificate before people read it."""
    if name and shown and not shown.is_owners and name not in shown.names:
        shown.look()


def _trust(doors: Doors) -> Trust | None:
    """What tells devices how to trust this box; None without https."""
    if doors.secure is None or doors.certificates is None:
        return None
    return Trust(doors.certificates, doors.secure.port)


@asynccontextmanager
async def _announced(
    settings: config.Settings, doors: Doors, wyoming_port: int | None
) -> AsyncIterator[discovery.Announcement | None]:
    """What announces this server on the network once it is ready; None if that is disabled."""
    if not settings.discovery.enabled:
        yield None
        return
    host, port = doors.plain.getsockname()[:2]
    is_for_others = settings.auth.mode != "key"  # see wyoming_server.check_peer
    wyoming_port = wyoming_port if is_for_others else None
    has_own_prefix = "own-prefix" in settings.auth.networks
    announcement = discovery.Announcement(
        # with a certificate that comes later, TLS is announced from the next start on
        discovery.services(port, doors.secure_port, wyoming_port, settings.auth.mode),
        partial(discovery.announced_networks, host, has_own_prefix=has_own_prefix),
        KeptName.of(settings),
    )
    async with announcement.running():
        yield announcement


async def _supply_engine(
    settings: config.Settings,
    gateway: Gateway,
    ready: Callable[[Engine], None],
    serving: asyncio.Task[None],
) -> None:
    """Give the gateway its engine, and keep the engine until the server has ended."""
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


def _tell(text: str) -> None:
    """Print to stdout; if that is not possible, the server goes on without it."""
    if sys.stdout is None:  # it was closed
        return
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        log.warning("cannot print the addresses of this server: %s", error.strerror)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
