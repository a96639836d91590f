"""One finding of the doctor."""

from dataclasses import dataclass
from typing import Literal

SETUP = "bash setup.sh"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    status: Literal["ok", "warn", "fail"]
    result: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty when there is nothing to do."""
