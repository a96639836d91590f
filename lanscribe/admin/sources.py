"""Reads the settings from all their sources, and reports what is wrong with them.

Each source overrules the one before: the default, config/lanscribe.toml, config/local.toml, the
environment (LANSCRIBE_TABLE_KEY) and the command line.
"""

import dataclasses
import io
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lanscribe import PROJECT_DIR
from lanscribe.admin.faults import conflicts, fault
from lanscribe.config import ENV_PREFIX, LONGEST_SESSION_S, MOST_SESSIONS, Settings
from lanscribe.errors import ConfigError
from lanscribe.installation import say

_LISTS = {"hostnames", "origins", "networks", "proxies"}
"""The settings, all in [auth], that are lists."""
DEFAULT_FILES = (PROJECT_DIR / "config/lanscribe.toml", PROJECT_DIR / "config/local.toml")
_MOST_BYTES = 2**18
"""The largest file of settings; each of them has a line."""
_TWICE = re.compile(
    r"Cannot (?:declare .* twice|overwrite a value)"
    r" \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)"
)
"""tomllib's words for a table or a setting that is there twice."""
_NAME = re.compile(r"\s*(\[[^#=]*\](?!\s*=)|[^=\s]+(?=\s*=))")
"""The name of a table with its brackets, or of a setting."""
_MOST_FAULTS = 20
"""How many faults of one source are told."""
CLIENT_VARIABLES = frozenset({"LANSCRIBE_URL", "LANSCRIBE_API_KEY"})
"""Variables of the terminal clients, which are not settings of the server."""
ALIASES = {
    "VOXTRAL_API_KEY": "auth.key",
    "MAX_CONCURRENT_CONNECTIONS": "engine.sessions",
    "WS_MAX_CONNECTION_DURATION_S": "limits.session_s",
}
"""Aliases for users who migrate from another server; LANSCRIBE_* overrules them. Other programs may
use these names for something else, so they lower a bound and never raise it."""
_MOST_OF_ALIAS = {
    "MAX_CONCURRENT_CONNECTIONS": MOST_SESSIONS,
    "WS_MAX_CONNECTION_DURATION_S": LONGEST_SESSION_S,
}
"""From here on the bound of an alias is none: no value of its setting is higher."""
FLAGS = {
    "host": "server.host",
    "port": "server.port",
    "auth": "auth.mode",
    "tls": "tls.mode",
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_port": "tls.port",
    "engine": "engine.name",
    "model": "engine.model",
    "sessions": "engine.sessions",
    "profile": "vllm.profile",
    "delay_ms": "vllm.delay_ms",
    "max_model_len": "vllm.max_model_len",
    "gpu_memory_utilization": "vllm.gpu_memory_utilization",
    "log_level": "log.level",
    "log_file": "log.file",
}
"""Flag of the command line -> the setting it overrules."""

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
    origins: dict[str, _Layer] = {}
    for layer in map(_without_removed, layers):
        given = _validated(layer)
        if layer.only_lowers:
            given = _without_raised(given, merged)
        for table, values in given.items():
            merged.setdefault(table, {}).update(values)
            origins |= {f"{table}.{key}": layer for key in values}
    settings = Settings.model_validate(merged)
    places = {name: f"{one.source}: {_name(one, name.split('.'))}" for name, one in origins.items()}
    if wrong := conflicts(settings, places):
        raise ConfigError("\n".join(wrong))
    settings.engine._is_ceiling = "engine.sessions" in origins and (
        origins["engine.sessions"].only_lowers
    )
    if settings.auth.key.get_secret_value():
        settings.auth._key_name = places["auth.key"].removeprefix("environment: ")
    return settings


def _without_raised(
    given: dict[str, dict[str, Any]], merged: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The bounds that are below the bound so far, and what is no bound; 0 means no bound."""
    return {
        table: {
            key: value
            for key, value in values.items()
            if not isinstance(value, int | float)
            or 0 < value < (merged.get(table, {}).get(key) or math.inf)
        }
        for table, values in given.items()
    }


def _files(file: Path | None) -> Sequence[Path]:
    return [file] if file else [path for path in DEFAULT_FILES if path.exists()]


def _file_layer(path: Path) -> _Layer:
    try:
        text = _text_of(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not TOML: it is not UTF-8 from byte {error.start} on; save it as UTF-8"
        ) from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {_toml_fault(text, str(error))}") from error
    return _Layer(str(path), values, is_text=False)


def _toml_fault(text: str, words: str) -> str:
    """What tomllib says; of a name that is there twice, its line and the name as it was typed."""
    place = _TWICE.match(words)
    if place is None:
        return words
    lines = text.rstrip().split("\n")
    line = int(place["line"] or len(lines))
    # What follows the name may be the key, which no message shows.
    name = _NAME.match(lines[line - 1])
    return f"line {line}: {name[1] if name else 'a name'} is there a second time; keep one of them"


def _text_of(path: Path) -> str:
    """The text of a file. Raises ConfigError if it is too large for settings."""
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ConfigError(
            f"{path}: got a file of more than {_MOST_BYTES} bytes; expected one of settings, as"
            " config/lanscribe.toml is"
        )
    # Windows' editors add a mark at the beginning.
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    values: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for name, value in environ.items():
        if name.startswith(ENV_PREFIX) and name not in CLIENT_VARIABLES:
            table, _, key = name.removeprefix(ENV_PREFIX).lower().partition("_")
            values.setdefault(table, {})[key] = value
            names[f"{table}.{key}"] = name
            names[table] = f"{names[table]}, {name}" if table in names else name
    return _Layer("environment", values, is_text=True, names=names)


def _alias_layer(environ: Mapping[str, str]) -> _Layer:
    """The aliases that are set; whoever sets the one of the key wants it to be required."""
    given = {
        name: setting
        for name, setting in ALIASES.items()
        if environ.get(name) and not _is_no_bound(name, environ[name])
    }
    flags = {setting: environ[name] for name, setting in given.items()}
    names = {setting: name for name, setting in given.items()}
    if "auth.key" in flags:
        flags["auth.mode"] = "key"
    return _Layer("environment", _tables(flags), is_text=True, names=names, only_lowers=True)


def _is_no_bound(name: str, text: str) -> bool:
    """Whether the value of an alias bounds nothing: it is too large, or not above 0."""
    try:
        return name in _MOST_OF_ALIAS and not 0 < float(text) <= _MOST_OF_ALIAS[name]
    except ValueError:
        return False


def _flag_layer(flags: Mapping[str, str]) -> _Layer:
    names = {setting: f"--{flag.replace('_', '-')}" for flag, setting in FLAGS.items()}
    return _Layer("command line", _tables(flags), is_text=True, names=names)


def _tables(flags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """ "table.key" -> value, as table -> key -> value."""
    values: dict[str, dict[str, str]] = {}
    for name, value in flags.items():
        table, _, key = name.partition(".")
        values.setdefault(table, {})[key] = value
    return values


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
        found = error.errors()
        told = [_explain(layer, one) for one in found[:_MOST_FAULTS]]
        more = [f"{layer.source}: {len(found) - len(told)} more"] if len(found) > len(told) else []
        raise ConfigError("\n".join([*told, *more])) from error
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
    name = _name(layer, [str(part) for part in error["loc"]])
    return f"{layer.source}: {fault(name, error)}"


def _name(layer: _Layer, path: Sequence[str]) -> str:
    """The name of a setting in a layer."""
    name = ".".join(path)
    if layer.source != "environment":
        return layer.names.get(name, name)
    return layer.names.get(name, f"{ENV_PREFIX}{'_'.join(path[:2])}".upper())
