"""What this machine is told by its networks: its name and the suffixes for it."""

import socket
from pathlib import Path

from lanscribe.identity.names import own_names

RESOLV_CONF = Path("/etc/resolv.conf")
"""The resolver's configuration (resolv.conf(5)), which DHCP, systemd-resolved, Tailscale's MagicDNS
and macOS write."""
_MOST_BYTES = 2**16


def suffixes(resolv_conf: Path = RESOLV_CONF) -> list[str]:
    """The search domains of the resolver; empty if there are none, or the file cannot be read."""
    try:
        with resolv_conf.open("rb") as file:
            lines = file.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    found = [word[1:] for word in words if word and word[0] in {"search", "domain"}]
    return list(dict.fromkeys(suffix for given in found for suffix in given))


def machine_names() -> list[str]:
    """The names by which others may call this machine now, the bare one first."""
    return own_names(socket.gethostname(), suffixes())
