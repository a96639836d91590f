"""Reads the settings from all their sources, and reports what is wrong with them.

Each source overrules the one before: the default, config/lanscribe.toml, config/local.toml, the
environment (LANSCRIBE_TABLE_KEY) and the command line.
"""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from lanscribe import PROJECT_DIR
from lanscribe.config import ENV_PREFIX, Settings, documented_keys, is_secret
from lanscribe.errors import ConfigError
from lanscribe.installation import say

_LISTS = {"hostnames", "proxies"}
"""The settings, all in [auth], that are lists."""
DEFAULT_FILES = (PROJECT_DIR / "config/lanscribe.toml", PROJECT_DIR / "config/local.toml")
CLIENT_VARIABLES = frozenset({"LANSCRIBE_URL", "LANSCRIBE_API_KEY"})
"""Variables of the terminal clients, which are not settings of the server."""
ALIASES = {
    "VOXTRAL_API_KEY": "auth.key",
    "MAX_CONCURRENT_CONNECTIONS": "engine.sessions",
    "WS_MAX_CONNECTION_DURATION_S": "limits.session_s",
}
"""Aliases for users who migrate from another server; LANSCRIBE_* overrules them. Other programs may
use these names for something else, so they lower a bound and never raise it."""


REMOVED = {
    "rollover": {"pause_s", "overlap_s", "idle_s", "pre_roll_s", "rut_s", "stall_s"},
    "vllm": {"answer_timeout_s", "stop_timeout_s"},
    "limits": {
        "close_timeout_s",
        "handshake_timeout_s",
        "vanished_s",
        "messages_per_s",
        "bytes_per_s",
    },
    "resume": {"messages"},
    "log": {"file_bytes"},
    "engine": {"threads"},
}
"""Settings of older versions, by table; one that is still given is named and has no effect."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values from one place: table -> key -> value."""

    source: str
    values: Mapping[str, Any]
    is_text: bool
    """Whether the values are strings still to be parsed, as in the environment."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The names of settings in this layer, if they are not table.key."""
    only_lowers: bool = False
    """Whether its bounds count only if they are below those of the layers before."""


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Read and validate every source; later ones overrule earlier ones.

    file: read instead of config/lanscribe.toml and config/local.toml.
    flags: "table.key" -> value, from the command line.
    Raises ConfigError naming the source, the key, the value and what is allowed.
    """
    layers = [
        *(_file_layer(path) for path in _files(file)),
        _alias_layer(environ or {}),
        _environment_layer(environ or {}),
        _flag_layer(flags or {}),
    ]
    merged: dict[str, dict[str, Any]] = {}
    is_ceiling = False
    for layer in map(_without_removed, layers):
        given = _validated(layer)
        if layer.only_lowers:
            given = _without_raised(given, merged)
        if "sessions" in given.get("engine", {}):
            is_ceiling = layer.only_lowers
        for table, values in given.items():
            merged.setdefault(table, {}).update(values)
    settings = Settings.model_validate(merged)
    if is_ceiling:
        settings.engine._is_ceiling = True
    return settings


def _without_raised(
    given: dict[str, dict[str, Any]], merged: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The secrets, and the bounds that are below the bound so far; 0 means no bound."""
    return {
        table: {
            key: value
            for key, value in values.items()
            if isinstance(value, SecretStr)
            or 0 < value < (merged.get(table, {}).get(key) or math.inf)
        }
        for table, values in given.items()
    }


def _files(file: Path | None) -> Sequence[Path]:
    return [file] if file else [path for path in DEFAULT_FILES if path.exists()]


def _file_layer(path: Path) -> _Layer:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return _Layer(str(path), values, is_text=False)


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    values: dict[str, dict[str, str]] = {}
    for name, value in environ.items():
        if name.startswith(ENV_PREFIX) and name not in CLIENT_VARIABLES:
            table, _, key = name.removeprefix(ENV_PREFIX).lower().partition("_")
            values.setdefault(table, {})[key] = value
    return _Layer("environment", values, is_text=True)


def _alias_layer(environ: Mapping[str, str]) -> _Layer:
    given = {name: setting for name, setting in ALIASES.items() if environ.get(name)}
    values = _flag_layer({setting: environ[name] for name, setting in given.items()}).values
    names = {setting: name for name, setting in given.items()}
    return _Layer("environment", values, is_text=True, names=names, only_lowers=True)


def _flag_layer(flags: Mapping[str, str]) -> _Layer:
    values: dict[str, dict[str, str]] = {}
    for name, value in flags.items():
        table, _, key = name.partition(".")
        values.setdefault(table, {})[key] = value
    return _Layer("command line", values, is_text=True)


def _without_removed(layer: _Layer) -> _Layer:
    """The layer without settings of older versions; each is named on stderr."""
    kept = dict(layer.values)
    for table, values in layer.values.items():
        if isinstance(values, dict) and (old := REMOVED.get(table, set()) & values.keys()):
            kept[table] = {key: value for key, value in values.items() if key not in old}
            for key in sorted(old):
                name = _name(layer, [table, key])
                say("lanscribe", f"warning: {layer.source}: {name} has no effect any more")
    return replace(layer, values=kept)


def _validated(layer: _Layer) -> dict[str, dict[str, Any]]:
    """The layer's own values, of the right types and in range."""
    try:
        if layer.is_text:
            settings = Settings.model_validate(_parsed_lists(layer.values))
        else:
            settings = Settings.model_validate_json(
                json.dumps(layer.values, default=str), strict=True
            )
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(layer, one) for one in error.errors())) from error
    return settings.model_dump(exclude_unset=True)


def _parsed_lists(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same values, with those of list settings split at commas."""
    parsed = {table: dict(table_values) for table, table_values in values.items()}
    auth = parsed.get("auth", {})
    for key in _LISTS & auth.keys():
        parts = [part.strip() for part in auth[key].split(",")]
        auth[key] = [part for part in parts if part]
    return parsed


def _explain(layer: _Layer, error: Any) -> str:
    """One line: source, key, value, what is allowed."""
    path = [str(part) for part in error["loc"]]
    name = _name(layer, path)
    if error["type"] == "extra_forbidden":
        return f"{layer.source}: {name}: no such setting; {_suggestion(path)}"
    expected = str(error["msg"]).replace("Input should be", "it should be")
    expected = expected.replace("an object", "a table")
    got = "a value that is not shown" if is_secret(*path[:2]) else repr(error["input"])
    return f"{layer.source}: {name}: got {got}; {expected}{_documentation(path)}"


def _name(layer: _Layer, path: Sequence[str]) -> str:
    """The name of a setting in a layer."""
    name = ".".join(path)
    if layer.source != "environment":
        return name
    return layer.names.get(name, f"{ENV_PREFIX}{'_'.join(path[:2])}".upper())


def _suggestion(path: Sequence[str]) -> str:
    if places := [f"[{table}]" for table, key, _ in documented_keys() if [key] == list(path)]:
        return f"it belongs below {' or '.join(places)}; docs/configuration.md lists them all"
    known = [f"{table}.{key}" for table, key, _ in documented_keys()]
    close = difflib.get_close_matches(".".join(path), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}docs/configuration.md lists them all"


def _documentation(path: Sequence[str]) -> str:
    texts = [text for table, key, text in documented_keys() if [table, key] == list(path[:2])]
    return f" ({texts[0].rstrip('.')})" if texts else ""
