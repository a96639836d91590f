"""What the server prints when it is ready: where it listens, and for whom."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanscribe import __version__, config
from lanscribe.engines.base import EngineInfo
from lanscribe.identity import network, reachable
from lanscribe.identity.certificates import Certificates
from lanscribe.server.transport import SecureListener

_BOX = "localhost"
"""Where nobody but this machine reaches the server."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to listen, and whether there is a key for clients outside the home network."""

    plain: socket.socket
    has_key: bool
    secure: SecureListener | None = None
    certificates: Certificates | None = None
    """What the secure door shows; None without one."""
    secure_trouble: str = ""
    """Why there is no secure door, though the settings ask for one."""

    @property
    def secure_port(self) -> int | None:
        """Where clients get TLS now; None while there is no certificate to show."""
        if self.secure is None or self.certificates is None or not self.certificates.context():
            return None
        return self.secure.port


def banner(
    settings: config.Settings,
    doors: Doors,
    wyoming_port: int | None,
    engine: EngineInfo,
    log_file: Path | None,
    local_name: str = "",
) -> str:
    """The text of the banner; wyoming_port is None when another program has it.

    local_name: by which this box is found, such as lanscribe.local; "" if it is not known.
    """
    host, port = doors.plain.getsockname()[:2]
    hosts = reachable.shown(host, settings, local_name) or [_BOX]
    local = "127.0.0.1" if host in network.ALL_ADDRESSES else host
    urls = [("ws", name, port) for name in hosts]
    if doors.secure_port is not None:
        urls += [("wss", name, doors.secure_port) for name in _secure_names(doors, hosts)]
    wyoming = f"tcp://{network.url_host(hosts[0])}:{wyoming_port}"
    if wyoming_port is None:
        wyoming = "none: its port is taken by another program, see above"
    return "\n".join(
        [
            f"lanscribe {__version__} is ready.",
            *(
                f"  clients    {scheme}://{network.url_host(name)}:{number}/v1/realtime"
                for scheme, name, number in urls
            ),
            *([f"  by name    http://{local_name}:{port}"] if local_name else []),
            *_https(doors),
            *([f"  wyoming    {wyoming}"] if settings.wyoming.enabled else []),
            f"  health     http://{network.url_host(local)}:{port}/health",
            f"  access     {_access(settings.auth, doors.has_key)}",
            f"  engine     {engine.name}, model {engine.model}"
            f" ({', '.join(engine.languages)}), {engine.capacity} sessions at once",
            f"  log        {log_file or 'none'}",
            "  stop       Ctrl-C",
        ]
    )


def _https(doors: Doors) -> list[str]:
    """Where browsers get the microphone, and by what they know that it is this box."""
    if doors.secure is None or doors.certificates is None:
        return [f"  https      none: {doors.secure_trouble}"] if doors.secure_trouble else []
    if not doors.certificates.context():
        return [f"  https      none: {doors.certificates.trouble}"]
    port = doors.secure.port
    if why := doors.certificates.why_nameless:
        return [f"  https      on port {port}, but no name is known: {why}"]
    lines = [f"  https      https://{network.url_host(_best_name(doors))}:{port}/"]
    if fingerprint := doors.certificates.fingerprint:
        lines.append(f"  authority  SHA-256 {fingerprint}")
    return lines


def _secure_names(doors: Doors, hosts: Sequence[str]) -> Sequence[str]:
    """Those under which a device can trust this box."""
    if doors.certificates and doors.certificates.why_nameless:
        return ()
    names = doors.certificates.names if doors.certificates else ()
    return [name for name in hosts if name in names] or names[:1] or hosts


def _best_name(doors: Doors) -> str:
    assert doors.certificates is not None
    names = doors.certificates.names
    return names[0] if names else str(doors.plain.getsockname()[0])


def _access(auth: config.AuthSettings, has_key: bool) -> str:
    """Who has access; never the key itself, because the banner may end up in somebody's log."""
    place = auth.key_place
    if auth.mode == "open":
        return "anybody who can reach it"
    if auth.mode == "key":
        return f"only with the key in {place}"
    return f"the home network{f'; others with the key in {place}' if has_key else ''}"
