"""The settings as shell variables: `serve.sh print-env`, which setup.sh and the doctor read."""

import shlex
from typing import Any

from lanscribe.config import ENV_PREFIX, Settings, documented_keys, is_secret

HIDDEN_KEY = "# LANSCRIBE_AUTH_KEY is set and not shown"
"""What is printed instead of the key."""


def environment_lines(settings: Settings) -> list[str]:
    """The settings as shell assignments that can be sourced, without the key."""
    values = settings.model_dump(mode="json")
    lines = [
        f"{ENV_PREFIX}{table}_{key}".upper() + "=" + shlex.quote(_as_text(values[table][key]))
        for table, key, _ in documented_keys()
        if not is_secret(table, key)
    ]
    return [*lines, HIDDEN_KEY] if settings.auth.key.get_secret_value() else lines


def _as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
