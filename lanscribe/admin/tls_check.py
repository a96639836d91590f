"""The doctor's finding about https. Standard library only."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lanscribe.admin.check import SETUP, Check
from lanscribe.admin.machine import PortFacts
from lanscribe.installation import Outcome

_SOON_DAYS = 14
"""An ACME client renews 30 days before the end, so less means that it does not."""
_AUTHORITY_SOON_DAYS = 90
_NEW = "bash serve.sh trust --new, then trust the box again on each device"


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the settings ask for, and what is there."""

    mode: str
    """tls.mode."""
    outcome: Outcome | None
    """That of serve.sh trust --json; None before setup."""


def judge_tls(facts: TlsFacts, port: Check) -> Check:
    """The mode, how long the certificate lasts, and the port. port: what was found of it."""
    if facts.mode == "off":
        return Check("tls", "ok", "off in the settings")
    if facts.outcome is None:
        return Check("tls", "warn", "the certificate cannot be read before setup", SETUP)
    if facts.outcome.status != 0:
        why = f"the certificate cannot be read: {facts.outcome.last_words}"
        return Check("tls", "warn", why, "see the line settings")
    told = json.loads(facts.outcome.output)
    certificate = _judge_own(told) if told["mode"] == "own" else _judge_box(told)
    if certificate.status == "ok" and (file := told["readable_by_others"]):
        why = f"others on this machine can read the private key in {file}"
        return Check("tls", "warn", why, f"chmod 600 {file}")
    if certificate.status != "ok":
        return certificate
    result = f"{port.result}; {certificate.result}"
    return Check("tls", port.status, result, port.remedy)


def judge_running(port: PortFacts, owners: Collection[str], *, is_own: bool) -> Check | None:
    """What the records of the servers at the port tell; None if the settings tell more.

    owners: whose certificates they show. is_own: whether the settings name one of the owner's.
    """
    if not port.bind_error or not owners:
        return None
    if port.health is None:
        why = f"{port.port}: lanscribe is running there, but has no certificate to show"
        return Check("tls", "warn", why, "its log says why, in the line with: no TLS")
    if "own" in owners and not is_own:
        why = f"{port.port}: lanscribe is running there, with a certificate that its flags name"
        return Check("tls", "ok", why)
    return None


def _judge_box(told: dict[str, Any]) -> Check:
    if told["trouble"]:
        return Check("tls", "warn", f"no https: {told['trouble']}", _NEW)
    left, authority_left = told["days_left"], told["authority_days_left"]
    if authority_left is None:
        return Check("tls", "ok", "the first start makes the certificate")
    if authority_left < _AUTHORITY_SOON_DAYS:
        return Check("tls", "warn", f"the authority ends in {authority_left} days", _NEW)
    if left is None:
        return Check("tls", "ok", "the next start makes the certificate")
    return Check("tls", "ok", f"the box's own certificate, {left} days left; it renews itself")


def _judge_own(told: dict[str, Any]) -> Check:
    if told["trouble"]:
        return Check("tls", "fail", told["trouble"], "name a PEM file that this user can read")
    left = told["days_left"]
    if left < 0:
        return Check("tls", "fail", "your certificate has ended", "renew the file of tls.cert")
    if left < _SOON_DAYS:
        why = f"your certificate ends in {left} days"
        return Check("tls", "warn", why, "renew the file of tls.cert; no restart is needed")
    return Check("tls", "ok", f"your own certificate, {left} days left")
