"""Every setting: its name, type, default, range and meaning, in one place.

A setting is a field of one of the frozen table classes below; its docstring is its
documentation. `lanscribe.admin.sources` reads their values.
"""

import re
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
)

ENV_PREFIX = "LANSCRIBE_"
MOST_SESSIONS = 1000
LONGEST_SESSION_S = 31_536_000
LONGEST_USUAL_DELAY_MS = 1200
LONGEST_DELAY_MS = 2400
LEAST_REQUEST_TOKENS = 825
"""A minute of audio for Voxtral, and the padding around it."""


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[^/?#@:\s]+)(:[0-9]{1,5})?", re.I | re.A)
"""An Origin as browsers send it (RFC 6454)."""
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_-]+)*\.?", re.I | re.A
)
"""A name as it is in a Host header, without a port; other letters are sent as xn--."""
_USUAL_PORTS = {"http": ":80", "https": ":443"}
"""Browsers leave them out."""


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class EngineSettings(_Table):
    """What turns sound into text."""

    name: Literal["auto", "embedded", "vllm", "fake"] = "auto"
    """The engine; auto takes the best one this machine can run."""
    model: Literal["base-en", "tiny-en"] = "base-en"
    """The embedded engine's model; tiny-en takes half the computing and makes more errors."""
    sessions: int = Field(default=0, ge=0, le=MOST_SESSIONS)
    """Sessions at once; 0 measures at start how many the machine holds in real time."""
    _is_ceiling: bool = PrivateAttr(default=False)

    def capacity(self, held: Callable[[], int]) -> int:
        """How many sessions an engine runs; held: measures how many the machine holds."""
        if self.sessions and not self._is_ceiling:
            return self.sessions
        return min(self.sessions or sys.maxsize, held())


class RolloverSettings(_Table):
    """How limited engine sessions make one endless session."""

    target_s: float = Field(default=240.0, ge=1, le=86_400)
    """After this much audio an engine session is replaced at the next pause."""
    limit_s: float = Field(default=300.0, ge=2, le=86_400)
    """After this much audio it is replaced at once, in the middle of speech."""
    retry_s: float = Field(default=300.0, ge=0, le=86_400)
    """How long to wait for an engine that is away; audio waits meanwhile."""


def _delay(value_ms: int) -> int:
    if LONGEST_USUAL_DELAY_MS < value_ms != LONGEST_DELAY_MS:
        raise ValueError(
            f"it should be at most {LONGEST_USUAL_DELAY_MS}, or {LONGEST_DELAY_MS}: the model was"
            " not trained for delays between them"
        )
    return value_ms


def _request_tokens(value: int) -> int:
    if 0 < value < LEAST_REQUEST_TOKENS:
        raise ValueError(f"it should be 0, or {LEAST_REQUEST_TOKENS} (a minute of audio) or more")
    return value


class VllmSettings(_Table):
    """vLLM, which runs the Voxtral model on an NVIDIA card."""

    profile: str = "auto"
    """A file of config/vllm without its .yaml, or a path with a slash; auto chooses by the card."""
    model_dir: str = "models/voxtral-mini-4b-realtime"
    """The folder of the model, relative to the project."""
    delay_ms: Annotated[int, AfterValidator(_delay)] = Field(
        default=480, ge=80, le=LONGEST_DELAY_MS, multiple_of=80
    )
    """How far the text is behind the voice; more makes fewer errors. Above 1200 only 2400 works."""
    max_model_len: Annotated[int, AfterValidator(_request_tokens)] = Field(
        default=0, ge=0, le=131_072
    )
    """The longest engine request in tokens, 750 a minute and 75 more; 0 is the profile's."""
    gpu_memory_utilization: float = Field(default=0.0, ge=0, le=1)
    """vLLM's share of the card's memory; 0 is what the profile's sessions need."""
    arguments: str = ""
    """Further flags for vLLM, as in a shell; they override the profile."""
    port: int = Field(default=8001, ge=1, le=65535)
    """Its port, on this machine only."""
    url: str = Field(default="", pattern=r"^(http://[^/\s]+/?)?$")
    """A vLLM that runs already, such as http://127.0.0.1:8001; empty starts one here."""
    python: str = ".venv-vllm/bin/python"
    """The Python of the environment with vLLM, relative to the project."""
    start_timeout_s: float = Field(default=1200.0, gt=0, le=86_400)
    """How long it may take to load before it is started again."""


class ServerSettings(_Table):
    """Where the server listens."""

    host: str = "0.0.0.0"
    """The address to listen on; 0.0.0.0 is the whole network, 127.0.0.1 this machine only."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port for HTTP and WebSocket; 0 lets the system choose."""
    state_dir: str = "state"
    """The folder for what the server makes and keeps, such as its certificates; back it up."""


class TlsSettings(_Table):
    """The same over TLS, on a port of its own; browsers give the microphone only to such pages."""

    mode: Literal["auto", "own", "off"] = "auto"
    """auto: a certificate that the server makes, unless cert and key are named; own: those; off."""
    cert: str = ""
    """Your own certificate with its chain, PEM, relative to the project; read when it changes."""
    key: str = ""
    """Its private key, PEM without a passphrase, relative to the project."""
    port: int = Field(default=8443, ge=0, le=65535)
    """The port for HTTPS and secure WebSocket; 0 lets the system choose."""


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


def _hostname(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        if not _HOST_NAME.fullmatch(text):
            raise ValueError(
                "it should be a host name or an address alone, such as box.example.org: no scheme,"
                " port, path or *, and letters beyond ASCII as xn--"
            ) from None
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ValueError("it should be scheme://host or scheme://host:port, without a path")
    scheme, _, rest = text.lower().partition("://")
    host = rest.removesuffix(_USUAL_PORTS.get(scheme, ""))
    return f"{scheme}://{host}"


class WyomingSettings(_Table):
    """The port for Home Assistant, at the address of server.host."""

    enabled: bool = True
    """Whether Home Assistant is served."""
    port: int = Field(default=10300, ge=0, le=65535)
    """The port for the Wyoming protocol; 0 lets the system choose."""
    end_silence_s: float = Field(default=0.0, ge=0, le=10)
    """Silence after which the server ends a command, such as 0.7; 0 leaves it to Home Assistant."""
    style: Literal["written", "plain"] = "written"
    """plain: text without punctuation, for sentences with wildcards; written: with it."""


class DiscoverySettings(_Table):
    """How Home Assistant and apps find the server by themselves."""

    enabled: bool = True
    """Whether the server announces its address to the network by multicast DNS."""
    name: str = Field(default="lanscribe", pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,48}[a-zA-Z0-9])?$")
    """Its name there: NAME.local, or NAME-2.local if another box has that."""


class AuthSettings(_Table):
    """Who may come in."""

    mode: Literal["lan", "key", "open"] = "lan"
    """lan: the home network, or the key; key: the key only; open: anybody, and every web page."""
    key: SecretStr = SecretStr("")
    """The key itself, of 12 letters or more; empty takes the one in key_file."""
    key_file: str = "config/key"
    """The file with the key, relative to the project; setup.sh makes it."""
    hostnames: tuple[Annotated[str, AfterValidator(_hostname)], ...] = ()
    """Further names of this server, besides localhost, *.local and its own name in the network."""
    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Origins of web pages that are as good as the server's own, such as https://ha.example.org."""
    networks: tuple[Literal["tailscale", "own-prefix"], ...] = ()
    """Further home networks: tailscale, and own-prefix, the IPv6 /64 of each network here."""
    proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Addresses and networks of proxies whose X-Forwarded-For is trusted."""
    _key_name: str = PrivateAttr(default="auth.key")

    @property
    def key_name(self) -> str:
        """The name under which `key` was given: a file's key, or a variable."""
        return self._key_name

    @property
    def key_place(self) -> str:
        """Where the key is: the name of its setting, or its file."""
        return self._key_name if self.key.get_secret_value() else self.key_file


class LimitSettings(_Table):
    """The bounds: reaching one causes a named error."""

    connections: int = Field(default=256, ge=1, le=10_000)
    """TCP connections, half of them per address; idle ones make way for an address with fewer."""
    message_bytes: int = Field(default=16 * 2**20, ge=2**10, le=2**30)
    """The largest WebSocket message; a larger one closes the connection with 1009."""
    upload_bytes: int = Field(default=2**30, ge=2**10, le=2**40)
    """The largest upload; it is kept in the folder for temporary files while it is read."""
    waiting_audio_s: float = Field(default=300.0, ge=1, le=86_400)
    """Audio of one session that may wait for the engine; then its sender is slowed down."""
    idle_timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long a session may send nothing while it is the client's turn."""
    lag_s: float = Field(default=5.0, gt=0, le=3600)
    """How far the text of a live session may be behind before the client is told."""
    send_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """How long a client may leave a message unread before it is disconnected."""
    session_s: float = Field(default=0.0, ge=0, le=LONGEST_SESSION_S)
    """The longest that a session may last; 0 sets no bound."""
    sessions_per_address: int = Field(default=0, ge=0, le=MOST_SESSIONS)
    """Sessions that one address may have; 0 is half of all, at least 2. This machine is exempt."""
    stop_timeout_s: float = Field(default=3.0, gt=0, le=60)
    """How long running sessions get for their last words when the server is stopped."""


class ResumeSettings(_Table):
    """Sessions that outlive their socket for a while."""

    keep_s: float = Field(default=60.0, ge=0, le=3600)
    """How long a session waits for its client after its socket broke; 0 does not wait."""


class LogSettings(_Table):
    """What is logged, and where."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message that is logged."""
    file: str = "logs/lanscribe.log"
    """The log file, relative to the project; an empty string means none."""


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


def documented_keys() -> Iterator[tuple[str, str, str]]:
    """Every setting as (table, key, its documentation)."""
    for table, field in Settings.model_fields.items():
        table_class = field.annotation
        assert isinstance(table_class, type)
        assert issubclass(table_class, _Table)
        for key, info in table_class.model_fields.items():
            yield table, key, info.description or ""


def is_secret(*path: str) -> bool:
    """Whether the value of this setting is never shown."""
    return path == ("auth", "key")
