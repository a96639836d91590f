"""The same server over TLS, with a certificate made for the tests."""

import asyncio
import http.client
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from lanscribe import PROJECT_DIR
from lanscribe.admin import doctor, machine
from lanscribe.config import LimitSettings, Settings, TlsSettings
from lanscribe.engines.fake import spoken
from lanscribe.errors import ConfigError
from lanscribe.identity import certificates
from lanscribe.identity.own_certificate import OwnCertificate
from lanscribe.server import intake as intake_module
from lanscribe.server.intake import REQUESTS_AT_ONCE
from lanscribe.server.transport import SecureListener, bind, make_server
from tests.fuzz.requests import HANDSHAKE
from tests.fuzz.wire import frame
from tests.servers import ServeHere, StartServer
from tests.support import DEADLINE_S, client, counting

MODEL = "fake-numbers"
PAUSE_S = 2 * intake_module._BREATH_S


def make_certificate(folder: Path, *flags: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", *flags]
    command += ["-subj", "/CN=lanscribe", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "-nodes")


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A client's context that trusts this certificate alone."""
    return ssl.create_default_context(cafile=str(certificate[0]))


def flags(certificate: tuple[Path, Path]) -> list[str]:
    cert, key = certificate
    return ["--tls", "own", "--tls-cert", str(cert), "--tls-key", str(key), "--tls-port", "0"]


def settings_of(certificate: tuple[Path, Path]) -> dict[str, object]:
    """The table `tls` of a server with this certificate."""
    cert, key = certificate
    return {"mode": "own", "cert": str(cert), "key": str(key), "port": 0}


def own_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The context of a server with this certificate."""
    cert, key = certificate
    return OwnCertificate(TlsSettings(cert=str(cert), key=str(key))).look().context


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is no address elsewhere")
@pytest.mark.parametrize("owed", [0, REQUESTS_AT_ONCE + 20], ids=["in its handshake", "before it"])
def test_a_handshake_that_is_dropped_for_another_leaves_nothing(
    certificate: tuple[Path, Path], owed: int
) -> None:
    """Neither a task that waits for ever nor a place."""

    async def drop_some() -> None:
        limits = LimitSettings(connections=4)
        listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]
        context = own_context(certificate)
        tls = SecureListener(listeners[1], lambda: context)
        server = make_server(PlainTextResponse("home"), limits, _no_drain, tls)
        intake, state = server._intake, server.server_state
        intake.requests.take("127.0.0.2", owed, time.monotonic())
        serving = asyncio.create_task(server.serve([listeners[0]]))
        await until(lambda: server.started)
        at = listeners[1].getsockname()
        for _ in range(20):
            strangers = [
                await asyncio.open_connection(*at, local_addr=(f"127.0.0.{address}", 0))
                for address in (2, 2, 3, 4)
            ]
            await until(lambda: len(intake.crowd) == 4)
            _, newcomer = await asyncio.open_connection(*at, local_addr=("127.0.0.5", 0))
            await until(lambda: "127.0.0.5" in intake.crowd._of_group)
            for writer in [newcomer, *(writer for _, writer in strangers)]:
                writer.transport.abort()
            await until(lambda: len(intake.crowd) == 0)
        await until(lambda: not state.tasks and not state.connections)
        server.stop(at_once=True)
        await serving

    asyncio.run(drop_some())


def test_what_is_held_when_the_connection_breaks_is_received(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    """Reading was paused for it; a closed connection cannot be read on."""
    received: list[dict[str, object]] = []

    async def lose_one() -> None:
        is_lost = asyncio.Event()

        async def app(_scope: object, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            received.append(await receive())
            await is_lost.wait()
            received.append(await receive())
            await asyncio.sleep(PAUSE_S)
            received.append(await receive())

        listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]
        context = own_context(certificate)
        tls = SecureListener(listeners[1], lambda: context)
        server = make_server(app, LimitSettings(), _no_drain, tls)
        serving = asyncio.create_task(server.serve([listeners[0]]))
        await until(lambda: server.started)
        reader, writer = await asyncio.open_connection(*listeners[1].getsockname(), ssl=trusting)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        frames = [frame(random.Random(0), 0x81, text) for text in (b"one", b"two")]
        writer.write(b"".join(frames))
        protocol: Any = next(iter(server.server_state.connections))
        await until(lambda: len(received) == 1 and not protocol.queue.empty())
        protocol.transport.abort()
        await until(lambda: not server.server_state.connections)
        is_lost.set()
        await until(lambda: not server.server_state.tasks)
        writer.transport.abort()
        server.stop(at_once=True)
        await serving

    asyncio.run(lose_one())
    assert [message.get("text") for message in received] == ["one", "two", None]


def test_without_a_certificate_yet_a_connection_ends_and_the_plain_door_serves(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    """As with a clock that is not set; the context is asked for at each connection."""
    contexts = [None, own_context(certificate)]

    async def converse() -> None:
        listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]
        tls = SecureListener(listeners[1], lambda: contexts.pop(0))
        app = PlainTextResponse("home")
        server = make_server(app, LimitSettings(), _no_drain, tls)
        serving = asyncio.create_task(server.serve([listeners[0]]))
        await until(lambda: server.started)
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*listeners[1].getsockname(), ssl=trusting)
        for listener, context in zip(listeners, (None, trusting), strict=True):
            reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=context)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"home")
            writer.transport.abort()
        await until(lambda: not server.server_state.tasks and len(server._intake.crowd) == 0)
        server.stop(at_once=True)
        await serving

    asyncio.run(converse())


def test_one_that_sends_on_after_its_refusal_leaves_nothing_in_the_log(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext, serve_here: ServeHere
) -> None:
    server = serve_here(tls=settings_of(certificate))

    async def send_on() -> None:
        at = (server.host, server.secure_port)
        reader, writer = await asyncio.open_connection(*at, ssl=trusting)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(random.Random(0), 0x81, b"\xff"))
        with suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    writer.write(bytes(65_536))
                    await writer.drain()
        writer.transport.abort()
        await asyncio.sleep(PAUSE_S)

    asyncio.run(send_on())
    assert "Traceback" not in server.log


REFUSED_UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("request_bytes", [REFUSED_UPGRADE, b"nonsense\r\n\r\n"])
def test_a_closed_connection_whose_peer_keeps_silent_harms_no_other(
    certificate: tuple[Path, Path],
    trusting: ssl.SSLContext,
    serve_here: ServeHere,
    request_bytes: bytes,
) -> None:
    """TLS waits for the peer's close, and no longer knows its socket meanwhile."""
    server = serve_here(tls=settings_of(certificate))
    peer = socket.create_connection(("127.0.0.1", server.secure_port), DEADLINE_S)
    with trusting.wrap_socket(peer, server_hostname="127.0.0.1") as silent:
        silent.sendall(request_bytes)
        assert silent.recv(9).startswith(b"HTTP/1.1 ")

        async def look() -> None:
            for _ in range(100):
                server._web._drop_who_vanished()
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(look(), server._loop).result(DEADLINE_S)
        assert httpx.get(f"{server.http_url}/health").status_code == 200
    server.stop()
    assert "Traceback" not in server.log


CLOSE = frame(random.Random(0), 0x88, (1000).to_bytes(2, "big"))
CLOSE_ANSWER = b"\x88\x02\x03\xe8"
STATES = [b"", HANDSHAKE[:30], HANDSHAKE, HANDSHAKE + CLOSE[:3], HANDSHAKE + CLOSE]
"""What peers have sent when the server ends; the last two have begun to close."""


def test_the_server_ends_whatever_its_peers_have_begun(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext, serve_here: ServeHere
) -> None:
    server = serve_here(tls=settings_of(certificate), limits={"close_timeout_s": 0.2})
    with ExitStack() as peers:
        for sent in STATES:
            peer = socket.create_connection(("127.0.0.1", server.secure_port), DEADLINE_S)
            secured = trusting.wrap_socket(peer, server_hostname="127.0.0.1")
            peers.enter_context(secured).sendall(sent)
            if sent.startswith(HANDSHAKE):
                assert secured.recv(12) == b"HTTP/1.1 101"
            if sent.endswith(CLOSE):
                while CLOSE_ANSWER not in secured.recv(4096):
                    pass
        server.stop()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("seed", range(4))
def test_handshakes_that_come_at_the_same_moment_take_turns(
    certificate: tuple[Path, Path],
    trusting: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """However many there are and wherever they are cut: one in each turn of the event loop."""
    monkeypatch.setattr(intake_module, "TURN_S", 0.0)  # so that none is fast enough for two
    rng = random.Random(seed)
    count = rng.randrange(20, 60)
    turns = [0]

    async def shake_hands() -> None:
        listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]
        context = own_context(certificate)
        context.sni_callback = lambda *_: turns.append(turns.pop() + 1)  # each hello comes by here
        tls = SecureListener(listeners[1], lambda: context)
        server = make_server(PlainTextResponse("home"), LimitSettings(), _no_drain, tls)
        serving = asyncio.create_task(server.serve([listeners[0]]))
        await until(lambda: server.started)
        counting_turns = asyncio.create_task(_count_turns(turns))
        all_are_here = asyncio.Barrier(count)
        clients = [
            _ask_over_tls(listeners[1].getsockname(), trusting, all_are_here, rng.random())
            for _ in range(count)
        ]
        async with asyncio.timeout(DEADLINE_S):
            assert await asyncio.gather(*clients) == count * [b"home"], f"seed {seed}"
        counting_turns.cancel()
        server.stop(at_once=True)
        await serving

    asyncio.run(shake_hands())
    assert (max(turns), sum(turns)) == (1, count), f"seed {seed}"


async def _count_turns(turns: list[int]) -> None:
    while True:
        await asyncio.sleep(0)
        turns.append(0)


async def _ask_over_tls(
    at: tuple[str, int], trusting: ssl.SSLContext, all_are_here: asyncio.Barrier, cut: float
) -> bytes:
    """The body of an answer; what is behind a cut of the hello is sent together with all others."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname=at[0])
    reader, writer = await asyncio.open_connection(*at)

    async def until_done(act: Callable[[], bytes | None]) -> bytes | None:
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(2**16))
            else:
                writer.write(outgoing.read())
                return done

    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    place = int(cut * len(hello))
    writer.write(hello[:place])
    await all_are_here.wait()
    writer.write(hello[place:])
    await until_done(tls.do_handshake)
    tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = b""
    while not answer.endswith(b"home"):
        answer += await until_done(lambda: tls.read(2**16)) or b""
    writer.transport.abort()
    return answer[-4:]


async def _no_drain() -> None:
    pass


async def until(holds: Callable[[], bool]) -> None:
    """Let others go on until it holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.001)


def test_both_ports_serve_the_same_and_both_end(
    start_server: StartServer, certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    server = start_server("fake", *flags(certificate), "--sessions", "2")
    numbers = range(1, 2000)

    async def converse() -> None:
        async with (
            client(server.url, MODEL) as plain,
            client(server.secure_url, MODEL, ssl=trusting) as secure,
        ):
            samples = spoken(numbers)
            texts = await asyncio.gather(plain.transcribe(samples), secure.transcribe(samples))
            assert [text["text"] for text in texts] == [counting(numbers)] * 2

    asyncio.run(converse())
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_the_doctor_knows_the_server_on_all_its_ports(
    serve_here: ServeHere, certificate: tuple[Path, Path]
) -> None:
    server = serve_here(tls=settings_of(certificate))
    facts = machine.port(server.host, server.secure_port, is_secure=True)
    assert doctor.judge_tls_port(facts, is_own=True).result.endswith("lanscribe is running there")
    facts = machine.wyoming_port(server.host, server.wyoming_port)
    assert doctor.judge_wyoming(facts).result.endswith("lanscribe is running there")
    facts = machine.wyoming_port(server.host, server.port)
    assert doctor.judge_wyoming(facts).status == "warn"


def test_who_does_not_speak_tls_harms_nobody(
    serve_here: ServeHere, certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    server = serve_here(tls=settings_of(certificate))

    async def converse() -> None:
        for words in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.secure_port)
            writer.write(words)
            writer.write_eof()
            try:
                answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
            except ConnectionError:
                answer = b""
            assert b"HTTP" not in answer
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with client(server.secure_url, ssl=ssl.create_default_context()):
                pass
        async with client(server.secure_url, MODEL, ssl=trusting) as one:
            assert (await one.transcribe(spoken([5])))["text"] == "5"

    asyncio.run(converse())
    server.stop()
    assert "Traceback" not in server.log


def test_no_answer_redirects_to_https_or_asks_for_https_alone(
    serve_here: ServeHere, certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    server = serve_here(tls=settings_of(certificate))
    plain = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_S)
    secure = http.client.HTTPSConnection(
        server.host, server.secure_port, timeout=DEADLINE_S, context=trusting
    )
    for connection in (plain, secure):
        with closing(connection):
            for path in ("/", "/health", "/trust", "/sign-in", "/none"):
                connection.request("GET", path, headers={"Accept": "text/html"})
                answer = connection.getresponse()
                answer.read()
                assert answer.getheader("Strict-Transport-Security") is None
                assert not (answer.getheader("Location") or "").startswith("https:")


def test_a_request_that_comes_with_the_handshakes_end_is_answered(
    serve_here: ServeHere, certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    server = serve_here(tls=settings_of(certificate))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    address = ("127.0.0.1", server.secure_port)
    with socket.create_connection(address, timeout=DEADLINE_S) as raw:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65_536))
        tls.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        raw.sendall(outgoing.read())  # the handshake's end and the request
        answer = b""
        while b'"status":"ok"' not in answer:
            data = raw.recv(65_536)
            assert data, answer
            incoming.write(data)
            with suppress(ssl.SSLWantReadError):
                while record := tls.read(65_536):
                    answer += record
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("is_shaken", [False, True], ids=["the handshake", "the request"])
def test_who_stalls_is_given_up(
    serve_here: ServeHere,
    certificate: tuple[Path, Path],
    trusting: ssl.SSLContext,
    is_shaken: bool,
) -> None:
    server = serve_here(tls=settings_of(certificate), limits={"handshake_timeout_s": 0.4})

    async def converse() -> None:
        context = trusting if is_shaken else None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.secure_port, ssl=context)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), DEADLINE_S)
        writer.close()
        async with client(server.secure_url, MODEL, ssl=trusting) as one:
            assert (await one.transcribe(spoken([5])))["text"] == "5"

    asyncio.run(converse())


def test_connections_count_before_their_handshake_and_on_both_ports(
    serve_here: ServeHere, certificate: tuple[Path, Path]
) -> None:
    server = serve_here(
        tls=settings_of(certificate), limits={"connections": 10, "handshake_timeout_s": 120}
    )

    async def converse() -> None:
        async with AsyncExitStack() as opened:
            streams = []
            for number in range(20):
                port = server.secure_port if number % 2 else server.port
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                opened.callback(writer.close)
                streams.append(reader)
            gone = [asyncio.create_task(reader.read()) for reader in streams]
            while sum(task.done() for task in gone) < 10:
                async with asyncio.timeout(DEADLINE_S):
                    await asyncio.wait(
                        [task for task in gone if not task.done()],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
            assert sum(task.done() for task in gone) == 10
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)

    asyncio.run(converse())
    server.stop()


def test_without_tls_there_is_no_context() -> None:
    assert certificates.of(Settings(tls=TlsSettings(mode="off"))) is None


def test_files_that_will_not_do_are_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = map(str, certificate)
    locked_cert, locked_key = map(str, make_certificate(tmp_path, "-passout", "pass:secret"))
    for settings, words in [
        (TlsSettings(cert=cert), "tls.key: is empty"),
        (TlsSettings(key=key), "tls.cert: is empty"),
        (TlsSettings(cert="none.pem", key=key), "tls.cert: none.pem cannot be read: No such"),
        (TlsSettings(cert=cert, key=str(tmp_path)), "cannot be read: Is a directory"),
        (TlsSettings(cert=key, key=cert), "both have to be PEM"),
        (TlsSettings(cert=cert, key=locked_key), "passphrase"),
        (TlsSettings(cert=locked_cert, key=key), "KEY_VALUES_MISMATCH"),
    ]:
        with pytest.raises(ConfigError) as caught:
            certificates.of(Settings(tls=settings))
        assert words in caught.value.public_message
        assert "\n" not in caught.value.public_message


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_bad_files_end_the_program_with_one_line(command: str, tmp_path: Path) -> None:
    arguments = [
        "--tls",
        "own",
        "--tls-cert",
        str(tmp_path / "none"),
        "--tls-key",
        "x",
        "--port",
        "0",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "lanscribe", command, *arguments],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "tls.cert" in done.stderr


def test_a_port_that_is_taken_is_named(certificate: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        arguments = ["--host", "127.0.0.1", "--port", "0", *flags(certificate)[:-1], number]
        done = subprocess.run(
            [sys.executable, "-m", "lanscribe", "serve", *arguments],
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{number}" in done.stderr
    assert "--tls-port" in done.stderr
