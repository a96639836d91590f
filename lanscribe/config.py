"""Every setting: its name, type, default, range and meaning, in one place.

A setting is a field of one of the frozen table classes below; its docstring is its
documentation. Values come, each overruling the one before, from the default,
config/lanscribe.toml, config/local.toml, the environment (LANSCRIBE_TABLE_KEY) and the
command line.
"""

import dataclasses
import difflib
import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from lanscribe import PROJECT_DIR
from lanscribe.errors import ConfigError

HIDDEN_KEY = "# LANSCRIBE_AUTH_KEY is set and not shown"
"""What stands for the key where settings are printed."""
_LISTS = {"hostnames", "proxies"}
"""The settings, all in [auth], that are lists."""
DEFAULT_FILES = (PROJECT_DIR / "config/lanscribe.toml", PROJECT_DIR / "config/local.toml")
ENV_PREFIX = "LANSCRIBE_"
CLIENT_VARIABLES = frozenset({"LANSCRIBE_URL", "LANSCRIBE_API_KEY"})
"""Variables of the terminal clients, which are no settings of the server."""
ALIASES = {
    "VOXTRAL_API_KEY": "auth.key",
    "MAX_CONCURRENT_CONNECTIONS": "engine.sessions",
    "WS_MAX_CONNECTION_DURATION_S": "limits.session_s",
}
"""Variables of another name, for who comes from another server; LANSCRIBE_* overrules them."""


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class EngineSettings(_Table):
    """What turns sound into text."""

    name: Literal["auto", "embedded", "vllm", "fake"] = "auto"
    """The engine; auto takes the best one this machine can run."""
    model: Literal["base-en", "tiny-en"] = "base-en"
    """The embedded engine's model; tiny-en takes half the computing and errs more."""
    sessions: int = Field(default=0, ge=0, le=1000)
    """How many sessions run at once; 0 measures at start what the machine holds in real time."""
    threads: int = Field(default=0, ge=0, le=64)
    """Worker threads of the embedded engine; 0 is one for each core. Files have as many besides."""


class RolloverSettings(_Table):
    """How one endless session is made out of limited engine sessions."""

    target_s: float = Field(default=240.0, ge=1, le=86_400)
    """After this much audio an engine session makes way for the next at the next pause."""
    limit_s: float = Field(default=300.0, ge=2, le=86_400)
    """After this much audio it makes way at once, in the middle of speech."""
    pause_s: float = Field(default=0.5, ge=0.1, le=10)
    """How long nobody may speak for a pause."""
    overlap_s: float = Field(default=4.0, ge=0.5, le=60)
    """Audio that is heard again when there was no pause; repeated words are left out."""
    idle_s: float = Field(default=10.0, ge=3, le=86_400)
    """How long nobody may speak before the engine is let go."""
    pre_roll_s: float = Field(default=1.0, ge=0.2, le=10)
    """Audio from before the next speech that the engine hears with it, at most half of idle_s."""
    rut_s: float = Field(default=16.0, ge=2, le=3600)
    """Clear speech without a word after which Voxtral's session is taken for deaf."""
    stall_s: float = Field(default=30.0, ge=0.1, le=3600)
    """How long an engine may say nothing at all while it has audio, before it is given up."""
    retry_s: float = Field(default=300.0, ge=0, le=86_400)
    """How long an engine that is away is waited for; audio waits meanwhile."""


class VllmSettings(_Table):
    """vLLM, which runs the Voxtral model on an NVIDIA card."""

    profile: str = "auto"
    """A file of config/vllm without its .yaml, or a path with a slash; auto goes by the card."""
    model_dir: str = "models/voxtral-mini-4b-realtime"
    """The folder of the model, relative to the project."""
    delay_ms: int = Field(default=480, ge=80, le=2400, multiple_of=80)
    """How far the text is behind the voice; more delay errs less. Beyond 1200 only 2400."""
    arguments: str = ""
    """Further flags for vLLM, as in a shell; they overrule the profile."""
    port: int = Field(default=8001, ge=1, le=65535)
    """Its port, on this machine only."""
    url: str = Field(default="", pattern=r"^(http://[^/\s]+/?)?$")
    """A vLLM that runs already, such as http://127.0.0.1:8001; empty starts one here."""
    python: str = ".venv-vllm/bin/python"
    """The Python of the environment with vLLM, relative to the project."""
    start_timeout_s: float = Field(default=1200.0, gt=0, le=86_400)
    """How long it may take to load before it is started anew."""
    answer_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """How long it may leave audio of a session unheard before the session is given up."""
    stop_timeout_s: float = Field(default=6.0, gt=0, le=300)
    """How long it may take to end before it is killed."""


class ServerSettings(_Table):
    """Where the server listens."""

    host: str = "0.0.0.0"
    """The address to listen on; 0.0.0.0 is the whole network, 127.0.0.1 this machine only."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port for HTTP and WebSocket; 0 lets the system choose."""


class TlsSettings(_Table):
    """The same over TLS, on a port of its own, when there is a certificate."""

    cert: str = ""
    """The certificate with its chain, PEM, relative to the project; empty is no TLS."""
    key: str = ""
    """The certificate's private key, PEM without a passphrase, relative to the project."""
    port: int = Field(default=8443, ge=0, le=65535)
    """The port for HTTPS and secure WebSocket; 0 lets the system choose."""


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


class WyomingSettings(_Table):
    """The port for Home Assistant, at the address of server.host."""

    enabled: bool = True
    """Whether Home Assistant is served."""
    port: int = Field(default=10300, ge=0, le=65535)
    """The port for the Wyoming protocol; 0 lets the system choose."""


class DiscoverySettings(_Table):
    """How Home Assistant and apps find the server by themselves."""

    enabled: bool = True
    """Whether the server tells the network by multicast DNS where it is."""


class AuthSettings(_Table):
    """Who may come in."""

    mode: Literal["lan", "key", "open"] = "lan"
    """lan: the home network, and who has the key; key: only who has it; open: anybody."""
    key: SecretStr = SecretStr("")
    """The key itself, of 12 letters or more; empty takes the one in key_file."""
    key_file: str = "config/key"
    """The file with the key, relative to the project; setup.sh makes it."""
    hostnames: tuple[str, ...] = ()
    """Names, besides localhost and *.local, by which the server may be addressed in lan mode."""
    proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Addresses and networks of proxies whose X-Forwarded-For is believed."""


class LimitSettings(_Table):
    """The bounds: each has a named error when it is reached."""

    connections: int = Field(default=256, ge=1, le=10_000)
    """TCP connections at once, half of them of one address; idle ones leave for who has fewer."""
    handshake_timeout_s: float = Field(default=10.0, gt=0, le=300)
    """How long a new connection may take to send its request."""
    message_bytes: int = Field(default=16 * 2**20, ge=2**10, le=2**30)
    """The largest WebSocket message; a larger one closes the connection with 1009."""
    upload_bytes: int = Field(default=2**30, ge=2**10, le=2**40)
    """The largest upload, which is kept in the folder for temporary files while it is read."""
    waiting_audio_s: float = Field(default=300.0, ge=1, le=86_400)
    """Audio of one session that may wait for the engine; then its sender is slowed down."""
    idle_timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long a session may be silent on the wire while it is its turn."""
    lag_s: float = Field(default=5.0, gt=0, le=3600)
    """How far the text of a live session may be behind before its client is told."""
    send_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """How long a client may leave a message unread before it is disconnected."""
    vanished_s: float = Field(default=60.0, gt=0, le=3600)
    """How long TCP may get no answer from a client before its connection is given up, on Linux."""
    close_timeout_s: float = Field(default=2.0, gt=0, le=60)
    """How long a closing connection is waited for."""
    session_s: float = Field(default=0.0, ge=0, le=31_536_000)
    """The longest that a session may last; 0 sets no bound."""
    sessions_per_address: int = Field(default=0, ge=0, le=1000)
    """How many sessions one address may have; 0 is half of all, at least 2. Not on this machine."""
    messages_per_s: int = Field(default=1000, ge=10, le=1_000_000)
    """How many messages of a client are read in a second; ten times as many at once."""
    bytes_per_s: int = Field(default=32 * 2**20, ge=64_000, le=2**40)
    """Bytes of a client that are read in a second; the default is 1000 times as fast as speech."""
    stop_timeout_s: float = Field(default=3.0, gt=0, le=60)
    """How long running sessions get for their last words when the server is stopped."""


class ResumeSettings(_Table):
    """Sessions that outlive their socket for a while."""

    keep_s: float = Field(default=60.0, ge=0, le=3600)
    """How long a session whose socket broke waits for its client to come back; 0 is not at all."""
    messages: int = Field(default=20_000, ge=1000, le=1_000_000)
    """How many messages that a client has not acknowledged are kept for it; 13 are a second."""


class LogSettings(_Table):
    """What is written down, and where."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message that is logged."""
    file: str = "logs/lanscribe.log"
    """The log file, relative to the project; an empty string means none."""
    file_bytes: int = Field(default=5_000_000, ge=10_000, le=2**31)
    """The size at which the log file is set aside; three older ones are kept."""


class Settings(_Table):
    """All tables."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    rollover: RolloverSettings = RolloverSettings()
    vllm: VllmSettings = VllmSettings()
    tls: TlsSettings = TlsSettings()
    wyoming: WyomingSettings = WyomingSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    resume: ResumeSettings = ResumeSettings()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values from one place: table -> key -> value."""

    source: str
    values: Mapping[str, Any]
    is_text: bool
    """Whether the values are strings still to be parsed, as in the environment."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What a setting is called there, where that is not table.key."""


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Read every source, the later ones overruling, and validate all of it.

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
    for layer in layers:
        for table, values in _validated(layer).items():
            merged.setdefault(table, {}).update(values)
    return Settings.model_validate(merged)


def documented_keys() -> Iterator[tuple[str, str, str]]:
    """Every setting as (table, key, its documentation)."""
    for table, field in Settings.model_fields.items():
        table_class = field.annotation
        assert isinstance(table_class, type)
        assert issubclass(table_class, _Table)
        for key, info in table_class.model_fields.items():
            yield table, key, info.description or ""


def environment_lines(settings: Settings) -> list[str]:
    """The settings as shell assignments that can be sourced, without the key."""
    values = settings.model_dump(mode="json")
    lines = [
        f"{ENV_PREFIX}{table}_{key}".upper() + "=" + shlex.quote(_as_text(values[table][key]))
        for table, key, _ in documented_keys()
        if not _is_secret(table, key)
    ]
    return [*lines, HIDDEN_KEY] if settings.auth.key.get_secret_value() else lines


def _is_secret(*path: str) -> bool:
    return path == ("auth", "key")


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
    return _Layer("environment", values, is_text=True, names=names)


def _flag_layer(flags: Mapping[str, str]) -> _Layer:
    values: dict[str, dict[str, str]] = {}
    for name, value in flags.items():
        table, _, key = name.partition(".")
        values.setdefault(table, {})[key] = value
    return _Layer("command line", values, is_text=True)


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
    """The same values with those of list settings, separated by commas, as lists."""
    parsed = {table: dict(table_values) for table, table_values in values.items()}
    auth = parsed.get("auth", {})
    for key in _LISTS & auth.keys():
        parts = [part.strip() for part in auth[key].split(",")]
        auth[key] = [part for part in parts if part]
    return parsed


def _explain(layer: _Layer, error: Any) -> str:
    """One line: source, key, value, what is allowed."""
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if layer.source == "environment":
        variable = f"{ENV_PREFIX}{'_'.join(path[:2])}".upper()
        name = layer.names.get(name, variable)
    if error["type"] == "extra_forbidden":
        return f"{layer.source}: {name}: no such setting; {_suggestion(path)}"
    expected = str(error["msg"]).replace("Input should be", "it should be")
    expected = expected.replace("an object", "a table")
    got = "a value that is not shown" if _is_secret(*path[:2]) else repr(error["input"])
    return f"{layer.source}: {name}: got {got}; {expected}{_documentation(path)}"


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


def _as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
