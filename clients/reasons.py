"""Why a server cannot be reached or refuses, in the words of the command line."""

import errno
import json
import os
import re
import socket
import ssl
import sys
from contextlib import suppress
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin

from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import CloseCode

from clients.address import (
    CA_FLAG,
    DEFAULT_PORTS,
    HOME_TLS_PORT,
    KEY_FLAG,
    KEY_VARIABLE,
    MODEL_FLAG,
    URL_FLAG,
    Server,
    written,
)
from clients.terminal import Trouble

CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
"""The errors of a connection that cannot be made."""
PROGRAMMING = re.compile(r"session\.update|input_audio_buffer|GET /|Authorization|\?api_key=")
"""What stands in the sentences of a server that only help a programmer."""
PROBE_S = 2.0
SELF_SIGNED = 18
UNKNOWN = (SELF_SIGNED, 19, 20, 21)
"""Numbers of OpenSSL (X509_V_ERR) for a certificate by an authority that is not trusted."""
EXPIRED = (10, 9)
"""Those for one that has expired, and for one that is not valid yet."""
NO_HTTP = "did not receive a valid HTTP response"
NO_SERVER = "what answers there is no speech server"


class TlsPort(OSError):
    """The port speaks TLS, and the address says that it does not."""


def explain(error: Exception, server: Server) -> Trouble:
    """A connection error as a line for the person at the terminal."""
    passes = False
    if isinstance(error, ConnectionClosed):
        what, advice = f"it hung up, {error.rcvd or 'without a word'}", "does serve.sh still run?"
        passes = error.rcvd is None or error.rcvd.code != CloseCode.POLICY_VIOLATION
    elif isinstance(error, HTTPError | InvalidStatus):
        what, advice = refused(error, server)
        passes = status_of(error) in (502, 503, 504)
    else:
        reason = error.reason if isinstance(error, URLError) else error
        what, advice = unreached(reason if isinstance(reason, Exception) else error, server)
    return Trouble(": ".join(filter(None, (server.place, what, advice))), passes=passes)


def refused(error: HTTPError | InvalidStatus, server: Server) -> tuple[str, str]:
    """What a status of HTTP means, and what to do; "" if the server says that itself."""
    status, fields = status_of(error), reason_of(error)
    code, text = str(fields.get("code")), str(fields.get("message") or "")[:500]
    name = f"HTTP {status} {text or phrase(status)}"
    if status == 401:
        return without_programming(name), key_advice(server, headers_of(error))
    if status == HTTPStatus.NOT_FOUND:
        what = f"it has no {server.base}/v1"
        return what if server.base else f"{what}: {NO_SERVER}", base_advice(server)
    if text:
        what = without_programming(name)
        is_passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
        return what, advice_of(code, server) or ("" if is_passing else base_advice(server))
    if 300 <= status < 400:
        return elsewhere(urljoin(server.models_url, headers_of(error).get("Location", "")))
    if status >= 500:
        return name, "is serve.sh running behind it? it may be loading"
    return f"{name}: {NO_SERVER}", base_advice(server)


def unreached(error: Exception, server: Server) -> tuple[str, str]:
    """What kept a connection from being made, and what to do."""
    if isinstance(error, TlsPort | ssl.SSLError):
        return unsafe(error, server)
    if isinstance(error, socket.gaierror):
        return unknown_name(error, server)
    if isinstance(error, TimeoutError):
        on = f"is the machine on and in this network, and its port {server.port} open?"
        return "it does not answer", on
    if is_garbled(error):
        return NO_HTTP, f"does another program have the port in {named(server)}?"
    if isinstance(error, OSError):
        return unroutable(error, server)
    return unfit(error, server)


def is_garbled(error: Exception) -> bool:
    """Whether something else than HTTP came, or the socket was closed instead of an answer."""
    if isinstance(error, HTTPError | InvalidStatus):
        return status_of(error) == HTTPStatus.BAD_REQUEST
    return isinstance(error, BadStatusLine | InvalidMessage | ConnectionResetError | EOFError)


def unfit(error: Exception, server: Server) -> tuple[str, str]:
    """What is wrong with an answer that is HTTP, and what to do."""
    if isinstance(error, InvalidURI):
        return elsewhere(error.uri)
    if isinstance(error, HTTPException | WebSocketException):
        return f"{NO_SERVER} ({str(error) or type(error).__name__})", base_advice(server)
    return f"it names no model: {NO_SERVER}", base_advice(server)


def elsewhere(url: str) -> tuple[str, str]:
    """What to do about a redirection."""
    return f"it sends its clients to {url}", f"if the speech server is there, use {URL_FLAG} {url}"


def unsafe(error: OSError, server: Server) -> tuple[str, str]:
    """Why TLS fails, or would be right, and what to do."""
    if isinstance(error, TlsPort):
        return "this port is TLS", f"use wss://{server.place}{server.base}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(error, server)
    reason = str(getattr(error, "reason", "") or error).replace("_", " ").lower()
    if any(word in reason for word in ("wrong version", "record layer", "http request", "packet")):
        return "this port is not TLS", plain_advice(server)
    return f"TLS fails ({reason})", f"is the port in {named(server)} right?"


def plain_advice(server: Server) -> str:
    """What to use instead of TLS at a plain port: the server's other port keeps TLS."""
    plain = f"ws://{server.place}{server.base}"
    if server.port != DEFAULT_PORTS["ws"]:
        return f"use {plain}"
    host = server.place.rpartition(":")[0]
    return f"use wss://{host}:{HOME_TLS_PORT}{server.base}, or without TLS {plain}"


def untrusted(error: ssl.SSLCertVerificationError, server: Server) -> tuple[str, str]:
    """What is wrong with the certificate of the server, and what to do."""
    code, why = error.verify_code, error.verify_message.rstrip(".")
    or_plain = f"or use ws:// with the plain port, {DEFAULT_PORTS['ws']}"
    if "mismatch" in why:
        return why, f"put a name or address into {named(server)} that the certificate has"
    if code in EXPIRED:
        what = "has expired" if code == EXPIRED[0] else "is not valid yet"
        clock = "is the clock of this machine right, and that of the server's?"
        return f"its certificate {what}", f"{clock} else make a new certificate there, {or_plain}"
    if code in UNKNOWN and server.ca_by:
        what = f"its certificate is not by the authority in {server.ca_by}"
        return (
            what,
            f"is that file of this server, and of its newest authority? {get_authority(server)}",
        )
    if code == SELF_SIGNED:
        own = f"{CA_FLAG} FILE with that certificate"
        return (
            "its certificate is signed by itself",
            f"get it from its owner, then {own}, {or_plain}",
        )
    if code in UNKNOWN:
        what = "got a certificate by an authority that this machine does not know"
        return what, f"{get_authority(server)}, {or_plain}"
    return f"its certificate is not trusted ({why})", f"{get_authority(server)}, {or_plain}"


def get_authority(server: Server) -> str:
    """How to get the server's authority, and be sure that it is the server's."""
    host = server.place.rpartition(":")[0]
    where = f"http://{host}:{DEFAULT_PORTS['ws']}/trust/lanscribe.pem"
    check = "compare the fingerprint with that of bash serve.sh trust on the server's machine"
    return f"get {where}, {check}, then {CA_FLAG} FILE"


def unknown_name(error: socket.gaierror, server: Server) -> tuple[str, str]:
    """Why a name has no address, and what to do."""
    what = f"this machine finds no {written(server.host)} ({error.strerror})"
    if server.host.endswith(".local"):
        return what, (
            "is it on and in this network? such names need mDNS on both machines (on Linux: Avahi"
            " and libnss-mdns); the IP address in the banner of serve.sh works without"
        )
    also = ", or its name with .local" if not {".", ":"} & set(server.host) else ""
    return what, f"is the name in {named(server)} right? else take the server's IP address{also}"


def unroutable(error: OSError, server: Server) -> tuple[str, str]:
    """Why the system made no connection, and what to do."""
    number, host = number_of(error), server.host
    what = os.strerror(number) if number else str(error)
    if number == errno.ECONNREFUSED:
        return what, refused_advice(server)
    if number == errno.EINVAL and host.startswith("fe80") and "%" not in host:
        return what, f"such an address needs the network card of this machine: [{host}%eth0]"
    needs = ", and this terminal allowed: System Settings, Privacy & Security, Local Network"
    more = needs if sys.platform == "darwin" and number == errno.EHOSTUNREACH else ""
    return what, f"is this machine in the server's network, and {named(server)} right{more}?"


def refused_advice(server: Server) -> str:
    """What to do when nothing listens at the port."""
    if not server.named_by:
        return f"is serve.sh running? a server elsewhere is named with {URL_FLAG} ws://HOST:8000"
    if not server.has_port:
        tried = f"{server.named_by} names no port, so {server.port} was tried"
        return f"is serve.sh running there? {tried}"
    return f"is serve.sh running there, and is the port in {server.named_by} right?"


def base_advice(server: Server) -> str:
    """What to do when nothing useful is at the address."""
    if server.base:
        scheme = server.url.partition(":")[0]
        return f"is {server.base} in {named(server)} right? without it: {scheme}://{server.place}"
    return f"is the port in {named(server)} right? serve.sh has {DEFAULT_PORTS['ws']}"


def key_advice(server: Server, headers: Any) -> str:
    """What to do when the key is missing or wrong."""
    if str(headers.get("WWW-Authenticate", "")).lower().startswith("basic"):
        return f"it asks for a user: {URL_FLAG} with USER:PASSWORD@ before the host"
    shown = "on the server's machine, bash serve.sh key shows it"
    if server.key_by:
        return f"is the key in {server.key_by} right? {shown}"
    return f"pass the key with {KEY_FLAG} or in {KEY_VARIABLE}; {shown}"


def advice_of(code: str, server: Server) -> str:
    """What a person at the terminal can do about an error code; "" if nothing."""
    if code == "unauthorized":
        return key_advice(server, {})
    if code == "model_not_found" and server.model:
        return f"leave out {MODEL_FLAG} {server.model}, or name one that it has"
    if code == "idle_timeout":
        return "the sound that is sent has stopped for too long"
    if code == "not_allowed":
        return f"the key goes into {KEY_FLAG}, or into {KEY_VARIABLE}"
    return ""


def without_programming(text: str) -> str:
    """A server's message without the sentences that only help a programmer."""
    sentences = re.split(r"(?<=[.;])\s+", text)
    kept = [sentence for sentence in sentences if not PROGRAMMING.search(sentence)]
    return " ".join(kept or sentences).rstrip(".; ")


def named(server: Server) -> str:
    """What the person can change."""
    return server.named_by or URL_FLAG


def number_of(error: OSError) -> int:
    """The number of a system's error, also if several addresses failed; 0 without."""
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    return error.errno or next(map(int, numbers), 0)


def phrase(status: int) -> str:
    """What a status is called."""
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""


def status_of(error: HTTPError | InvalidStatus) -> int:
    """The status of an answer."""
    return error.code if isinstance(error, HTTPError) else error.response.status_code


def headers_of(error: HTTPError | InvalidStatus) -> Any:
    """The headers of an answer."""
    return error.headers if isinstance(error, HTTPError) else error.response.headers


def reason_of(error: HTTPError | InvalidStatus) -> dict[str, Any]:
    """The server's own reason, with its code and message; empty if it gives none."""
    with suppress(OSError, HTTPException, ValueError, TypeError, LookupError):
        body = error.read(9999) if isinstance(error, HTTPError) else error.response.body
        return dict(json.loads(body or b"")["error"])
    return {}


def speaks_tls(server: Server) -> bool:
    """Whether the port answers a greeting of TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection((server.host, server.port), PROBE_S) as plain_socket,
        context.wrap_socket(plain_socket),
    ):
        return True
    return False
