"""The server as a person names it: its address and key, as they are typed or pasted."""

import argparse
import os
import re
import ssl
import stat
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from unicodedata import category
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from clients.output import put

DEFAULT_URL = "ws://127.0.0.1:8000"
SECURE_URL = "wss://127.0.0.1:8443"
"""The default if the person names an authority."""
URL_FLAG, KEY_FLAG, MODEL_FLAG = "--url", "--api-key", "--model"
DISCOVER_FLAG, CA_FLAG = "--discover", "--ca-file"
URL_VARIABLE, KEY_VARIABLE = "LANSCRIBE_URL", "LANSCRIBE_API_KEY"
CA_VARIABLE = "LANSCRIBE_CA_FILE"
MOST_CA_BYTES = 2**20
SCHEMES = {"": "ws", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
DEFAULT_PORTS = {"ws": 8000, "wss": 443}
HOME_TLS_PORT = 8443
"""The port of wss:// for a server at home; elsewhere a proxy has 443."""
HOME_NAME = re.compile(
    r"[^.]+|.+\.(local|lan|internal|localdomain|home\.arpa|fritz\.box)", re.IGNORECASE
)
SHARED_ADDRESSES = ip_network("100.64.0.0/10")
"""Addresses that Tailscale and some providers give (RFC 6598)."""
ENDPOINT = re.compile(
    r"(/v1)*(/audio/(transcriptions|translations))?(/realtime|/models|/health|/docs)?/?$",
    re.IGNORECASE,
)
"""The end of a path that a server adds to its base."""
QUOTES = dict(zip("\"'`<\u201c\u2018\u00ab\u201e", "\"'`>\u201d\u2019\u00bb\u201c", strict=True))


@dataclass(frozen=True)
class Server:
    """Where the server is, and which flag or variable says so."""

    url: str
    """The WebSocket address, without user and password."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What every request carries: the key, or user and password."""
    model: str = ""
    """As the person named it; "" for the first that the server lists."""
    named_by: str = URL_FLAG
    """What has the address; "" if nothing has, so that it is the default."""
    key_by: str = ""
    """What has the key; "" if there is none."""
    has_port: bool = True
    """Whether the person named the port."""
    context: ssl.SSLContext | None = None
    """For TLS with the authority that the person names; None for those of the system."""
    ca_by: str = ""
    """What names the authority, with its file; "" if nothing does."""

    @property
    def place(self) -> str:
        """The host and the port, as a person writes them."""
        return f"{bracketed(written(self.host))}:{self.port}"

    @property
    def host(self) -> str:
        """The name or address of the machine, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port of TCP."""
        parts = urlsplit(self.url)
        return parts.port or DEFAULT_PORTS[parts.scheme]

    @property
    def base(self) -> str:
        """What stands between the port and /v1 of every request, such as /speech; mostly ""."""
        return urlsplit(self.url).path.removesuffix("/v1/realtime")

    @property
    def models_url(self) -> str:
        """Where the server lists its models."""
        parts = urlsplit(self.url)
        host = parts.netloc.replace("%", "%25")  # urllib unquotes the host
        return urlunsplit((f"http{parts.scheme[2:]}", host, f"{self.base}/v1/models", *parts[3:]))


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that name the server, the model and the key."""
    ports = f"without a port 8000; with TLS {HOME_TLS_PORT} at home, 443 elsewhere"
    parser.add_argument(URL_FLAG, help=f"default: {URL_VARIABLE}, or {DEFAULT_URL}; {ports}")
    find = "find the server in this network; done by itself if no URL is given and none runs here"
    to_whom = f"a key goes to whoever answers, unless {CA_FLAG} proves who that is"
    parser.add_argument(DISCOVER_FLAG, action="store_true", help=f"{find}; {to_whom}")
    authority = "the server's authority, from /trust/lanscribe.pem; then only wss:// is used"
    parser.add_argument(CA_FLAG, metavar="FILE", help=f"{authority}; default: {CA_VARIABLE}")
    parser.add_argument(MODEL_FLAG, default="", help="default: the first that the server lists")
    parser.add_argument(KEY_FLAG, help=f"the key; default: {KEY_VARIABLE}")


def parse_server_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """The command line, with a Server as `server`; exits with 2 if it is wrong.

    Raises OutputTrouble if the help cannot be written.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit:
        put(sys.stdout, "")  # tells if the help cannot be written
        raise
    options.server = server_of(parser, options)
    return options


def server_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Server:
    """The server that the options and the environment name; exits with 2 if they are wrong."""
    if options.discover and options.url is not None:
        parser.error(f"{DISCOVER_FLAG} and {URL_FLAG} both say where the server is: leave out one")
    url, named_by = given(options.url, URL_FLAG, URL_VARIABLE)
    named_by = "" if options.discover else named_by
    key, key_by = given(options.api_key, KEY_FLAG, KEY_VARIABLE)
    path, ca_by = given(options.ca_file, CA_FLAG, CA_VARIABLE)
    url = url if named_by else SECURE_URL if ca_by else DEFAULT_URL
    try:
        address, login = realtime_url(secured(url) if ca_by else url), login_of(url)
        port = split_url(url).port
    except ValueError as error:
        parser.error(f"{named_by}: got {url!r}: {error}; expected such as ws://HOST:8000")
    try:
        key = checked_key(key)
    except ValueError as error:
        parser.error(f"{key_by}: {error}")
    if key and login:
        parser.error(f"{named_by} has a user name, and {key_by} a key: only one can be sent")
    headers = {"Authorization": login or f"Bearer {key}"} if login or key else {}
    key_by = key_by if key else named_by if "api_key=" in address else ""
    server = Server(address, headers, unquoted(options.model), named_by, key_by, port is not None)
    if not ca_by:
        return server
    if server.url.startswith("ws:"):
        expected = f"expected such as wss://{server.place.rpartition(':')[0]}"
        secure = f"with {ca_by} only wss:// is used; {expected}"
        parser.error(f"{named_by}: got {url!r}: {secure}, or {without_authority(ca_by)}")
    return with_authority(server, parser, path, ca_by)


def with_authority(
    server: Server, parser: argparse.ArgumentParser, path: str, ca_by: str
) -> Server:
    """The server with the authority in the file; exits with 2 if it is wrong."""
    if not path:
        parser.error(f"{ca_by}: got ''; expected a certificate's file")
    try:
        context = trusting(certificate_in(Path(path)))
    except OSError as error:
        parser.error(f"{ca_by}: got {path!r}: {error.strerror}; expected a certificate's file")
    except ValueError as error:
        parser.error(f"{ca_by}: got {path!r}: {error}")
    return replace(server, context=context, ca_by=f"{ca_by} {path}")


def without_authority(ca_by: str) -> str:
    """How to use no authority, which stands in the flag or the variable, maybe with its file."""
    name = ca_by.partition(" ")[0]
    return f"leave out {CA_FLAG}" if name == CA_FLAG else f"unset {name}"


def secured(url: str) -> str:
    """A URL, host:port or host as wss:// if it has no scheme."""
    return url if "://" in url else f"wss://{url}"


def certificate_in(path: Path) -> bytes:
    """What a file contains. Raises OSError, or ValueError if it cannot be a certificate's."""
    expected = "expected a certificate's file"
    if stat.S_ISREG(path.stat().st_mode):
        with path.open("rb") as file:
            content = file.read(MOST_CA_BYTES + 1)
        if len(content) > MOST_CA_BYTES:
            raise ValueError(f"it is larger than {MOST_CA_BYTES // 2**20} MiB; {expected}")
        return content
    raise ValueError(f"it is no regular file; {expected}")


def trusting(certificate: bytes) -> ssl.SSLContext:
    """TLS that trusts this authority and no other; PEM or DER. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    is_pem = b"-----BEGIN CERTIFICATE" in certificate
    try:
        context.load_verify_locations(
            cadata=certificate.decode("ascii", "ignore") if is_pem else certificate
        )
    except (ssl.SSLError, ValueError) as error:
        expected = "expected such as http://HOST:8000/trust/lanscribe.pem"
        raise ValueError(f"it holds no certificate, as PEM or DER; {expected}") from error
    return context


def given(value: str | None, flag: str, variable: str) -> tuple[str, str]:
    """A flag's value, or that of the variable, and which of them has it.

    A variable that is empty is as good as none.
    """
    if value is not None:
        return unquoted(value), flag
    value = unquoted(os.environ.get(variable, ""))
    return value, variable if value else ""


def unquoted(text: str) -> str:
    """The text without what pasting adds: space or quotes around it, and unseen letters."""
    text = "".join(letter for letter in text if category(letter) != "Cf").strip()
    if len(text) > 1 and text[-1] == QUOTES.get(text[0]):
        return unquoted(text[1:-1])
    return text


def realtime_url(text: str) -> str:
    """The WebSocket address for a URL, host:port or host. Raises ValueError with the reason."""
    parts = split_url(text)
    scheme = SCHEMES[parts.scheme]
    host = host_of(parts)
    usual = default_port(scheme, parts.hostname or "")
    port = parts.port or ("" if usual == DEFAULT_PORTS["wss"] else usual)
    base = quote(ENDPOINT.sub("", re.sub("/+", "/", parts.path)), safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((scheme, f"{host}:{port}".rstrip(":"), f"{base}/v1/realtime", query, ""))


def default_port(scheme: str, host: str) -> int:
    """The port of a ws:// or wss:// address without one; host: a name or address, no brackets."""
    return HOME_TLS_PORT if scheme == "wss" and is_at_home(host) else DEFAULT_PORTS[scheme]


def is_at_home(host: str) -> bool:
    """Whether a name or an address belongs to a home network, by how it is written."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return HOME_NAME.fullmatch(host) is not None
    return address.is_private or (address.version == 4 and address in SHARED_ADDRESSES)


def split_url(text: str) -> SplitResult:
    """The parts of a URL, host:port or host. Raises ValueError with the reason."""
    text = unquoted(text)
    if any(letter.isspace() or category(letter) == "Cc" for letter in text):
        raise ValueError("a space or a line break is in it")
    scheme, mark, rest = text.partition("://") if "://" in text else ("", "", text)
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"{scheme}:// is not ws://, wss://, http:// or https://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if is_bare_ipv6(authority):
        rest = f"[{authority}]{rest.removeprefix(authority)}"
    try:
        parts = urlsplit(f"{scheme}{mark or '//'}{rest}".replace("%25", "%"))
        is_port = parts.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise ValueError("its host or its port is wrong")
    return parts


def is_bare_ipv6(authority: str) -> bool:
    """Whether this is an IPv6 address without its brackets."""
    try:
        return bool(IPv6Address(authority.replace("%25", "%")))
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def host_of(parts: SplitResult) -> str:
    """The host as it stands in a URL. Raises ValueError if it cannot be one."""
    host = parts.hostname or ""
    if not host:
        raise ValueError("it names no host")
    if ":" in host:
        return bracketed(host)
    if re.fullmatch(r"[\d.]+", host):
        return str(ip_address(host))
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} cannot be the name of a machine") from error


def written(host: str) -> str:
    """The host as a person writes it, with the letters that DNS spells otherwise."""
    with suppress(UnicodeError):
        return host.encode().decode("idna")
    return host


def login_of(text: str) -> str:
    """The Authorization of a URL with user:password@; "" without. Raises ValueError."""
    parts = split_url(text)
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(login.encode()).decode('ascii')}"


def checked_key(key: str) -> str:
    """The key, without a word before it as in a header. Raises ValueError, without the key."""
    key = re.sub(r"^(Authorization:\s*)?Bearer\s+", "", key, flags=re.IGNORECASE)
    for place, letter in enumerate(key, 1):
        if not "!" <= letter <= "~":
            what = f"{letter!r} is letter {place} of the {len(key)} that were given"
            raise ValueError(f"{what}; expected a key of ASCII letters and digits, without spaces")
    return key
