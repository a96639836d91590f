"""What is printed where the server is not reached, or refuses: each line typed as a person does."""

import asyncio
import errno
import os
import re
import socket
import ssl
import sys
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

import test_file_transcribe as client
from lanscribe import PROJECT_DIR
from tests.clients.conftest import StartClient
from tests.clients.peers import greet, hear, raw, say, server, web
from tests.clients.program import Program
from tests.clients.test_file_client import SCRIPT, failure, refused_port, run
from tests.server.test_tls import make_certificate, settings_of
from tests.servers import Parts, ServeHere, Server
from tests.support import DEADLINE_S

KEY = "a-key-of-these-tests"
IN_KEY_MODE = {"mode": "key", "key": KEY}
SHOWN = "on the server's machine, bash serve.sh key shows it"


@pytest.fixture
def told(numbers_wav: Callable[..., Path]) -> Callable[..., str]:
    """Gives the line of a client that fails, without its name: told("--url", "box")."""
    path = numbers_wav([7])

    def line(*arguments: str, **environment: str) -> str:
        nothing = {"LANSCRIBE_URL": "", "LANSCRIBE_API_KEY": "", "LANSCRIBE_CA_FILE": ""}
        shown = failure("--audio_path", path, *arguments, **(nothing | environment))
        return shown.removeprefix(f"{SCRIPT}: ")

    return line


@pytest.fixture
def text_of(numbers_wav: Callable[..., Path]) -> Callable[..., str]:
    """Gives what a client that succeeds writes."""
    path = numbers_wav([7])

    def text(*arguments: str, **environment: str) -> str:
        ended = run("--audio_path", path, *arguments, **environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return text


# Where it is.


@pytest.mark.parametrize("written", [" ws://{}\n", "\u201c{}\u201d", "http://{}/v1/v1/", "WS://{}"])
def test_an_address_with_what_pasting_adds_is_reached(
    written: str, fake_server: Server, text_of: Callable[..., str]
) -> None:
    assert text_of("--url", written.format(f"127.0.0.1:{fake_server.port}")) == "7\n"


@pytest.mark.parametrize("typed", ["127.0.0.2", "ws://127.0.0.2", "http://127.0.0.2"])
def test_the_port_that_was_tried_is_told_and_always_the_same(
    typed: str, told: Callable[..., str]
) -> None:
    why = "is serve.sh running there? --url names no port, so 8000 was tried"
    assert told("--url", typed) == f"127.0.0.2:8000: Connection refused: {why}"


def test_a_refused_port_is_told_with_what_names_it(told: Callable[..., str]) -> None:
    place = f"127.0.0.1:{refused_port()}"
    why = "is serve.sh running there, and is the port in {} right?"
    for more in ([], ["--model", "m"]):
        line = told("--url", place, *more)
        assert line == f"{place}: Connection refused: {why.format('--url')}"
    line = told(LANSCRIBE_URL=place)
    assert line == f"{place}: Connection refused: {why.format('LANSCRIBE_URL')}"
    line = told("--url", f"localhost:{place.rpartition(':')[2]}", "--model", "m")  # two addresses
    assert "Connection refused: is serve.sh running there" in line


@pytest.mark.parametrize("more", [[], ["--model", "m"]])
def test_a_name_that_nobody_has(more: list[str], told: Callable[..., str]) -> None:
    line = told("--url", "no-such.invalid", *more)
    assert line.startswith("no-such.invalid:8000: this machine finds no no-such.invalid (")
    assert line.endswith("): is the name in --url right? else take the server's IP address")
    line = told("--url", "no-such.local", *more)
    assert "such names need mDNS on both machines (on Linux: Avahi and libnss-mdns)" in line


def test_a_machine_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = str(client.explain(TimeoutError(), client.Server("ws://box:9/v1/realtime")))
    assert line == (
        "box:9: it does not answer: is the machine on and in this network, and its port 9 open?"
    )
    failed = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    line = str(client.explain(failed, client.Server("ws://box:9/v1/realtime")))
    network = "is this machine in the server's network, and --url right"
    assert line == f"box:9: No route to host: {network}?"
    monkeypatch.setattr(sys, "platform", "darwin")
    line = str(client.explain(failed, client.Server("ws://box:9/v1/realtime")))
    allowed = ", and this terminal allowed: System Settings, Privacy & Security, Local Network?"
    assert line == f"box:9: No route to host: {network}{allowed}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems choose a network card")
def test_an_ipv6_address_of_a_network_card_without_the_card(told: Callable[..., str]) -> None:
    line = told("--url", "fe80::7")
    assert line.startswith("[fe80::7]:8000: Invalid argument: such an address needs the network")
    assert line.endswith(": [fe80::7%eth0]")


def link_local() -> str:
    """An IPv6 address of this machine that needs its network card, such as fe80::7%eth0."""
    table = Path("/proc/net/if_inet6")
    rows = table.read_text(encoding="ascii").splitlines() if table.exists() else []
    for digits, _, _, scope, _, card in map(str.split, rows):
        if scope == "20":
            return f"{IPv6Address(bytes.fromhex(digits))}%{card}"
    pytest.skip("no network card with such an address")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
@pytest.mark.parametrize("more", [[], ["--model", "fake-numbers"]])
def test_an_ipv6_address(
    more: list[str], serve_here: ServeHere, text_of: Callable[..., str]
) -> None:
    running = serve_here(server={"host": "::1"})
    assert text_of("--url", f"[::1]:{running.port}", *more) == "7\n"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
@pytest.mark.parametrize("more", [[], ["--model", "fake-numbers"]])
def test_an_ipv6_address_with_its_network_card(
    more: list[str], serve_here: ServeHere, text_of: Callable[..., str]
) -> None:
    host, running = link_local(), serve_here(server={"host": "::"})
    for zone in ("%", "%25"):
        written = f"http://[{host.replace('%', zone)}]:{running.port}/v1"
        assert text_of("--url", written, *more) == "7\n"


def test_a_proxy_of_the_environment_is_not_asked(
    fake_server: Server, text_of: Callable[..., str]
) -> None:
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxy = f"http://127.0.0.1:{refused_port()}"
    environment = dict.fromkeys(names, proxy) | {"no_proxy": "", "NO_PROXY": ""}
    assert text_of("--url", fake_server.url, **environment) == "7\n"


@pytest.mark.parametrize(
    ("close", "what", "passes"),
    [
        (None, "without a word", True),
        (Close(1011, "keepalive"), "1011 (internal error) keepalive", True),
        (Close(1008, "no"), "1008 (policy violation) no", False),
    ],
)
def test_a_server_that_hangs_up(close: Close | None, what: str, passes: bool) -> None:
    server = client.Server("ws://box:9/v1/realtime")
    trouble = client.explain(ConnectionClosedError(close, None), server)
    assert str(trouble) == f"box:9: it hung up, {what}: does serve.sh still run?"
    assert trouble.passes is passes


# TLS.


def test_tls_and_none_are_told_apart(
    serve_here: ServeHere, tmp_path: Path, told: Callable[..., str], text_of: Callable[..., str]
) -> None:
    certificate = make_certificate(tmp_path, "-nodes")
    running = serve_here(tls=settings_of(certificate))
    plain, secure = f"127.0.0.1:{running.port}", f"127.0.0.1:{running.secure_port}"
    for more in ([], ["--model", "m"]):
        for scheme in ("wss", "https"):
            line = told("--url", f"{scheme}://{plain}/v1", *more)
            assert line == f"{plain}: this port is not TLS: use ws://{plain}"
        line = told("--url", f"ws://{secure}", *more)
        assert line == f"{secure}: this port is TLS: use wss://{secure}"
        line = told("--url", f"wss://{secure}", *more)
        assert line == (
            f"{secure}: its certificate is signed by itself: get it from its owner, then --ca-file"
            " FILE with that certificate, or use ws:// with the plain port, 8000"
        )
    trusted = str(certificate[0])
    assert text_of("--url", f"wss://{secure}", SSL_CERT_FILE=trusted) == "7\n"
    assert text_of("--url", f"wss://{secure}", "--ca-file", trusted) == "7\n"
    assert text_of("--url", f"wss://{secure}", LANSCRIBE_CA_FILE=trusted) == "7\n"
    line = told("--url", f"wss://localhost:{running.secure_port}", SSL_CERT_FILE=trusted)
    assert line.endswith("'localhost': put a name or address into --url that the certificate has")


def unverified(code: int, message: str) -> ssl.SSLCertVerificationError:
    """What Python raises for a certificate that it does not trust."""
    error = ssl.SSLCertVerificationError(1, "failed")
    error.verify_code, error.verify_message = code, message
    return error


OR_PLAIN = ", or use ws:// with the plain port, 8000"
GET_IT = (
    "get http://box:8000/trust/lanscribe.pem, compare the fingerprint with that of bash serve.sh"
    " trust on the server's machine, then --ca-file FILE"
)


@pytest.mark.parametrize(
    ("code", "ca_by", "line"),
    [
        (
            20,
            "",
            "got a certificate by an authority that this machine does not know:"
            f" {GET_IT}{OR_PLAIN}",
        ),
        (
            19,
            "--ca-file a.pem",
            "its certificate is not by the authority in --ca-file a.pem: is that file of this"
            f" server, and of its newest authority? {GET_IT}",
        ),
        (
            10,
            "",
            "its certificate has expired: is the clock of this machine right, and that of the"
            f" server's? else make a new certificate there{OR_PLAIN}",
        ),
        (
            9,
            "",
            "its certificate is not valid yet: is the clock of this machine right, and that of the"
            f" server's? else make a new certificate there{OR_PLAIN}",
        ),
        (47, "", f"its certificate is not trusted (permitted subtree): {GET_IT}{OR_PLAIN}"),
    ],
)
def test_each_fault_of_a_certificate_has_its_line(code: int, ca_by: str, line: str) -> None:
    server = client.Server("wss://box:8443/v1/realtime", ca_by=ca_by)
    error = unverified(code, "permitted subtree")
    assert str(client.explain(error, server)) == f"box:8443: {line}"


def test_a_certificate_by_an_authority_as_pem_and_as_der(
    serve_here: ServeHere, tmp_path: Path, told: Callable[..., str], text_of: Callable[..., str]
) -> None:
    """Both forms that /trust gives; another authority is not enough."""
    certificate = make_certificate(tmp_path, "-nodes")
    running = serve_here(tls=settings_of(certificate))
    url = ("--url", f"wss://127.0.0.1:{running.secure_port}")
    der = tmp_path / "lanscribe.crt"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(certificate[0].read_text(encoding="ascii")))
    assert text_of(*url, "--ca-file", der) == "7\n"
    other = tmp_path / "other"
    other.mkdir()
    wrong = make_certificate(other, "-nodes")[0]
    line = told(*url, "--ca-file", wrong)
    assert f"its certificate is not by the authority in --ca-file {wrong}: " in line


def test_a_file_that_holds_no_authority(numbers_wav: Callable[..., Path], tmp_path: Path) -> None:
    def refusal(file: Path) -> str:
        ended = run("--audio_path", numbers_wav([7]), "--url", "wss://box", "--ca-file", file)
        assert ended.returncode == 2
        return str(ended.stderr.splitlines()[-1].partition("error: ")[2])

    missing, text = tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("no certificate")
    expected = "No such file or directory; expected a certificate's file"
    assert refusal(missing) == f"--ca-file: got '{missing}': {expected}"
    expected = "expected such as http://HOST:8000/trust/lanscribe.pem"
    told = f"--ca-file: got '{text}': it holds no certificate, as PEM or DER; {expected}"
    assert refusal(text) == told


def test_a_server_that_was_there_is_not_asked_for_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back to one that restarts does not need a second connection."""
    session = client.Session(client.Server("ws://box:9/v1/realtime"))
    session.keep_s = 60.0
    monkeypatch.setattr(client, "speaks_tls", lambda _: True)
    trouble = asyncio.run(session.unreached(ConnectionResetError()))
    assert str(trouble).startswith("box:9: did not receive a valid HTTP response: ")
    assert trouble.passes
    session.keep_s = 0.0
    trouble = asyncio.run(session.unreached(ConnectionResetError()))
    assert str(trouble) == "box:9: this port is TLS: use wss://box:9"
    assert not trouble.passes


# Who may come in.


@pytest.mark.parametrize("pasted", [f" {KEY}\n", f'"{KEY}"', f"Bearer {KEY}"])
def test_a_key_with_what_pasting_adds_is_right(
    pasted: str, serve_here: ServeHere, text_of: Callable[..., str]
) -> None:
    running = serve_here(auth=IN_KEY_MODE)
    assert text_of("--url", running.url, "--api-key", pasted) == "7\n"
    assert text_of("--url", running.url, LANSCRIBE_API_KEY=pasted) == "7\n"


def test_a_key_that_is_not_needed_does_no_harm(
    fake_server: Server, text_of: Callable[..., str]
) -> None:
    assert text_of("--url", fake_server.url, "--api-key", "not-needed") == "7\n"
    assert text_of("--url", f"ws://me:word@127.0.0.1:{fake_server.port}") == "7\n"


@pytest.mark.parametrize("more", [[], ["--model", "fake-numbers"]])
def test_a_key_that_is_missing_or_wrong(
    more: list[str], serve_here: ServeHere, told: Callable[..., str]
) -> None:
    running = serve_here(auth=IN_KEY_MODE)
    place = f"127.0.0.1:{running.port}"
    line = told("--url", place, *more)
    no_key = f"{place}: HTTP 401 got no key: pass the key with --api-key or in LANSCRIBE_API_KEY"
    assert line == f"{no_key}; {SHOWN}"
    wrong = f"{place}: HTTP 401 got a wrong key: is the key in {{}} right? {SHOWN}"
    line = told("--url", place, "--api-key", "wrong-one", *more)
    assert line == wrong.format("--api-key")
    line = told("--url", place, *more, LANSCRIBE_API_KEY="wrong-two")
    assert line == wrong.format("LANSCRIBE_API_KEY")
    line = told("--url", f"{place}/?api_key=wrong-three", *more)
    assert line == wrong.format("--url")


def test_an_address_that_needs_the_key(told: Callable[..., str]) -> None:
    with web(HTTPStatus.FORBIDDEN, '{"error":{"message":"no home","code":"not_allowed"}}') as place:
        line = told("--url", place)
    assert line == (
        f"{place}: HTTP 403 no home: the key goes into --api-key, or into LANSCRIBE_API_KEY"
    )


@pytest.mark.parametrize("typed", ["other", " other "])
def test_a_model_that_the_server_does_not_have(
    typed: str, fake_server: Server, told: Callable[..., str]
) -> None:
    line = told("--url", fake_server.url, "--model", typed)
    assert line.startswith("the server says: got the model 'other'; this server has: fake-numbers")
    assert line.endswith("; leave out --model other, or name one that it has")
    assert not re.search(r"session\.update|GET /", line)


@pytest.mark.parametrize(
    "name",
    ["whisper-1", "gpt-4o-transcribe", "mistralai/Voxtral-Mini-4B-Realtime-2602", ' "whisper-1" '],
)
def test_a_name_that_every_program_knows_means_the_model_that_is_there(
    name: str, fake_server: Server, text_of: Callable[..., str]
) -> None:
    assert text_of("--url", fake_server.url, "--model", name) == "7\n"


@pytest.mark.parametrize("more", [[], ["--model", "fake-numbers"]])
def test_a_server_that_still_starts(
    more: list[str], serve_here: ServeHere, told: Callable[..., str]
) -> None:
    running = serve_here(parts=Parts(engine=None))
    line = told("--url", running.url, *more)
    assert line.endswith(" the engine is loading; try again in a few seconds")


# Somebody else.


@pytest.mark.parametrize(
    ("status", "body", "headers", "line"),
    [
        (
            HTTPStatus.OK,
            "<!DOCTYPE html><title>router</title>",
            {},
            "it names no model: {NO}: {PORT}",
        ),
        (HTTPStatus.OK, '{"data": []}', {}, "it names no model: {NO}: {PORT}"),
        (
            HTTPStatus.TOO_MANY_REQUESTS,
            '{"error":{"message":"wrong keys; the next in 9 s","code":"too_many_guesses"}}',
            {},
            "HTTP 429 wrong keys; the next in 9 s",
        ),
        (
            HTTPStatus.BAD_REQUEST,
            '{"error":{"message":"what is this?"}}',
            {},
            "HTTP 400 what is this?: {PORT}",
        ),
        (HTTPStatus.NOT_FOUND, "", {}, "it has no /v1: {NO}: {PORT}"),
        (HTTPStatus.FORBIDDEN, "", {}, "HTTP 403 Forbidden: {NO}: {PORT}"),
        (
            HTTPStatus.BAD_GATEWAY,
            "",
            {},
            "HTTP 502 Bad Gateway: is serve.sh running behind it? it may be loading",
        ),
        (
            HTTPStatus.UNAUTHORIZED,
            "",
            {"WWW_Authenticate": 'Basic realm="box"'},
            "HTTP 401 Unauthorized: it asks for a user: --url with USER:PASSWORD@ before the host",
        ),
        (
            HTTPStatus.UNAUTHORIZED,
            '{"error":"Unauthorized"}',
            {},
            "HTTP 401 Unauthorized: pass the key with --api-key or in LANSCRIBE_API_KEY; {SHOWN}",
        ),
        (
            HTTPStatus.MOVED_PERMANENTLY,
            "",
            {"Location": "https://box.example/v1/models"},
            "it sends its clients to https://box.example/v1/models: if the speech server is there,"
            " use --url https://box.example/v1/models",
        ),
        (
            HTTPStatus.FOUND,
            "",
            {"Location": "/login"},
            "it sends its clients to http://{PLACE}/login: if the speech server is there, use --url"
            " http://{PLACE}/login",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, HTTPStatus) else "",
)
def test_another_program_on_the_port(
    status: HTTPStatus, body: str, headers: dict[str, str], line: str, told: Callable[..., str]
) -> None:
    with web(status, body, **headers) as place:
        expected = line.format(
            NO="what answers there is no speech server",
            PORT="is the port in --url right? serve.sh has 8000",
            PLACE=place,
            SHOWN=SHOWN,
        )
        assert told("--url", place) == f"{place}: {expected}"
        assert told("--url", place, "--model", "m").startswith(f"{place}: ")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 junk\r\n\r\n"])
@pytest.mark.parametrize("more", [[], ["--model", "m"]])
def test_a_program_that_does_not_speak_http(
    answer: bytes, more: list[str], told: Callable[..., str]
) -> None:
    with raw(answer) as place:
        assert told("--url", place, *more) == (
            f"{place}: did not receive a valid HTTP response:"
            " does another program have the port in --url?"
        )


@pytest.mark.parametrize("more", [[], ["--model", "fake-numbers"]])
def test_a_path_that_the_server_does_not_have(
    more: list[str], fake_server: Server, told: Callable[..., str]
) -> None:
    place = f"127.0.0.1:{fake_server.port}"
    why = f"is /speech in --url right? without it: ws://{place}"
    assert told("--url", f"{place}/speech", *more) == f"{place}: it has no /speech/v1: {why}"


def test_the_microphone_says_the_same(start_client: StartClient, tmp_path: Path) -> None:
    card = {"PYTHONPATH": str(PROJECT_DIR / "tests/clients/card"), "CARD_WAV": str(tmp_path)}

    def line_of(*arguments: str, **environment: str) -> str:
        program: Program = start_client("stream_microphone.py", *arguments, **card, **environment)
        program.wait()
        return program.err.text.splitlines()[-1]

    assert "--url: got 'ws:// box': a space or" in line_of("--url", "ws:// box")
    assert "LANSCRIBE_API_KEY: ' ' is letter 2" in line_of(LANSCRIBE_API_KEY="a b")


def test_what_a_server_says_to_programmers_is_left_out(told: Callable[..., str]) -> None:
    def handler(connection: Any) -> None:
        greet(connection)
        hear(connection, "input_audio_buffer.append")
        text = "nothing was heard. Send input_audio_buffer.commit. Look at the log"
        say(connection, type="error", error=text, code="other")
        connection.recv(timeout=DEADLINE_S)

    with server(handler) as place:
        assert told("--url", place) == "the server says: nothing was heard. Look at the log"


def test_tls_at_the_usual_plain_port_is_advised_to_keep_tls() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    for place, secure in (("box", "box:8443"), ("[fd00::7]", "[fd00::7]:8443")):
        server = client.Server(f"wss://{place}:8000/speech/v1/realtime", named_by="--url")
        assert str(client.explain(error, server)) == (
            f"{place}:8000: this port is not TLS: use wss://{secure}/speech, or without TLS"
            f" ws://{place}:8000/speech"
        )
