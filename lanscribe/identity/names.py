"""The names by which this machine is called on its networks: decisions without I/O."""

import re
from collections.abc import Iterable

SPECIAL_SUFFIXES = ("local", "lan", "home.arpa", "internal", "localdomain")
"""Suffixes of home networks that public DNS never has (RFC 6762, RFC 8375, ICANN's .internal)."""
ROUTER_SUFFIXES = ("fritz.box",)
"""A router's own domain, which its maker owns in public DNS."""
_MOST_INSTANCE_BYTES = 63 - len("-99999")
"""DNS-SD allows 63 (RFC 6763, section 4.1.1), with the number that a taken name gets."""
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


def label_of(hostname: str) -> str:
    """The machine's own label, in lower case; "" if it has no name of its own."""
    label = hostname.partition(".")[0].lower()
    return label if _LABEL.fullmatch(label) and label != "localhost" else ""


def instance_name(hostname: str) -> str:
    """The name of this machine's services for people; DNS-SD can carry it, whatever the machine's.

    Without letters that cannot be printed, which DNS-SD forbids or people cannot see.
    """
    machine = "".join(filter(str.isprintable, hostname.partition(".")[0]))
    name = f"lanscribe-{machine}" if machine else "lanscribe"
    return name.encode()[:_MOST_INSTANCE_BYTES].decode(errors="ignore")


def own_names(hostname: str, suffixes: Iterable[str]) -> list[str]:
    """The machine's own names, the bare one first: its label alone and with each known suffix.

    suffixes: those that the networks give, as `surroundings.suffixes` finds them. Never a domain as
    a whole: each name begins with the machine's label. Empty if it has no name of its own.
    """
    label = label_of(hostname)
    if not label:
        return []
    full = hostname.lower().rstrip(".")
    given = [suffix.lower().strip(".") for suffix in suffixes]
    endings = [*SPECIAL_SUFFIXES, *ROUTER_SUFFIXES, *filter(_is_domain, given)]
    names = [label, *([full] if _is_domain(full) else []), *(f"{label}.{one}" for one in endings)]
    return list(dict.fromkeys(names))


def _is_domain(text: str) -> bool:
    return len(text) <= 200 and all(map(_LABEL.fullmatch, text.split(".")))


def as_full_name(text: str) -> str:
    """A full name in lower case, without the dot at its end; "" if it is not one."""
    name = text.lower().removesuffix(".")
    return name if "." in name and _is_domain(name) else ""
