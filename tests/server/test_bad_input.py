"""What the server has to survive. Each test ends with the same question: is another client's
text still whole?"""

import asyncio
import base64
import json
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError

from lanscribe.engines.fake import spoken
from lanscribe.identity.network import routed_addresses
from lanscribe.speech.audio import SAMPLE_RATE_HZ, samples_to_pcm16
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S, Client, Refused, client, counting

MODEL = "fake-numbers"
MEMORY_MARGIN_BYTES = 60 * 2**20


@pytest.fixture(scope="module")
def server(fake_server: Server) -> Iterator[Server]:
    """The shared server, which must not have logged a defect at the end."""
    yield fake_server
    assert "Traceback" not in fake_server.log


@asynccontextmanager
async def unharmed(server: Server) -> AsyncIterator[None]:
    """Another client talks all the while; nothing of its text may be lost, nor memory kept."""
    before = server.resident_bytes()
    async with client(server.url, MODEL) as other:
        await other.commit()
        await other.append(spoken(range(1, 100)))
        yield
        await other.append(spoken(range(100, 200)))
        await other.commit(final=True)
        done = (await other.until("transcription.done"))[-1]
    assert done["text"] == counting(range(1, 200))
    async with asyncio.timeout(DEADLINE_S):
        while server.resident_bytes() > before + MEMORY_MARGIN_BYTES:
            await asyncio.sleep(0.1)  # the system, not the server, says when memory is back


async def still_works(one: Client) -> None:
    await one.select(MODEL)
    assert (await one.transcribe(spoken([1, 2])))["text"].endswith("1 2")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", "invalid_json"),
        ("[1, 2]", "invalid_event"),
        ('{"type":"session.nonsense"}', "unknown_event"),
        ('{"type":"session.update","model":5}', "invalid_event"),
        ('{"type":"input_audio_buffer.append"}', "invalid_event"),
        ('{"type":"input_audio_buffer.append","audio":{}}', "invalid_event"),
        ('{"type":"input_audio_buffer.append","audio":"?!"}', "invalid_audio"),
        ('{"type":"input_audio_buffer.append","audio":"data:audio/wav,A"}', "invalid_audio"),
        ('{"type":"input_audio_buffer.append","audio":""}', "invalid_audio"),
        ('{"type":"input_audio_buffer.commit","final":1}', "invalid_event"),
        (b"", "invalid_audio"),
    ],
)
def test_a_bad_message_is_answered_and_the_session_goes_on(
    server: Server, message: str | bytes, code: str
) -> None:
    async def converse() -> None:
        async with unharmed(server), client(server.url) as one:
            await one.connection.send(message)
            error = await one.receive()
            assert (error["type"], error["code"]) == ("error", code)
            await still_works(one)

    asyncio.run(converse())


def test_a_binary_frame_before_anything_is_audio(server: Server) -> None:
    async def converse() -> None:
        async with unharmed(server), client(server.url) as one:
            await one.connection.send(samples_to_pcm16(spoken([8, 9])))
            await one.select(MODEL)
            await one.commit(final=True)
            assert (await one.until("transcription.done"))[-1]["text"] == "8 9"

    asyncio.run(converse())


def test_text_that_is_not_utf8_closes_that_connection(server: Server) -> None:
    async def converse() -> None:
        async with unharmed(server), client(server.url) as one:
            await one.connection.send(b"\xff\xfe{", text=True)
            assert await one.close_code() == 1007

    asyncio.run(converse())


@pytest.mark.slow
def test_an_append_of_64_megabytes_is_refused_with_the_bound(server: Server) -> None:
    async def converse() -> None:
        audio = base64.b64encode(bytes(48 * 2**20)).decode()
        message = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        assert len(message) > 64 * 2**20
        async with unharmed(server), client(server.url) as one:
            with pytest.raises(ConnectionClosedError) as caught:
                await one.connection.send(message)
                await one.receive()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
            assert "exceeds limit of 16777216 bytes" in caught.value.rcvd.reason

    asyncio.run(converse())


@pytest.mark.slow
def test_ten_thousand_tiny_appends(server: Server) -> None:
    async def converse() -> None:
        samples = spoken(range(1, 101))
        assert len(samples) // 10_000 > 0
        async with unharmed(server), client(server.url, MODEL) as one:
            await one.commit()
            for piece in np.array_split(samples, 10_000):
                await one.append(piece)
            await one.commit(final=True)
            assert (await one.until("transcription.done"))[-1]["text"] == counting(range(1, 101))

    asyncio.run(converse())


def test_a_minute_of_audio_in_a_second(server: Server) -> None:
    async def converse() -> None:
        numbers = [*range(1, 751)]
        samples = spoken(numbers)
        assert len(samples) == 60 * SAMPLE_RATE_HZ
        async with unharmed(server), client(server.url, MODEL) as one:
            assert (await one.transcribe(samples))["text"] == counting(numbers)

    asyncio.run(converse())


def test_a_client_that_sends_nothing_is_told_and_closed(serve_here: ServeHere) -> None:
    server = serve_here(limits={"idle_timeout_s": 0.3})

    async def converse() -> None:
        async with client(server.url, MODEL) as silent:
            assert (await silent.receive())["code"] == "idle_timeout"
            assert await silent.close_code() == 4000
        async with client(server.url, MODEL) as stalled:
            await stalled.commit()
            await stalled.append(spoken([1, 2, 3]))
            events = await stalled.until("error")
            assert events[-2]["text"] == "1 2 3"
            assert events[-1]["code"] == "idle_timeout"

    asyncio.run(converse())


def test_a_client_that_never_reads_is_disconnected(start_server: StartServer) -> None:
    server = start_server("fake", LANSCRIBE_LIMITS_SEND_TIMEOUT_S="0.5")

    async def converse() -> None:
        async with unharmed(server):
            reader, writer = await connect_with_little_room(server)
            try:
                await handshake(reader, writer)
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                provoking = frame(json.dumps({"type": "x" * 200}).encode()) * 100
                with pytest.raises(ConnectionError):
                    async with asyncio.timeout(DEADLINE_S):
                        while True:
                            writer.write(provoking)
                            await writer.drain()
            finally:
                writer.transport.abort()

    asyncio.run(converse())
    wait_for_log(server, "client read nothing")


def test_a_half_open_handshake_is_given_up(serve_here: ServeHere) -> None:
    server = serve_here(limits={"handshake_timeout_s": 0.3})

    async def converse() -> None:
        async with unharmed(server):
            for start in (b"", b"GET /v1/realtime HTTP/1.1\r\nHost: loc"):
                reader, writer = await asyncio.open_connection(server.host, server.port)
                writer.write(start)
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await asyncio.wait_for(reader.readexactly(1), DEADLINE_S)
                writer.close()

    asyncio.run(converse())


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /heal"),
        (b"PUT /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"body"),
    ],
)
def test_a_request_that_does_not_go_on_is_given_up(
    serve_here: ServeHere, whole: bytes, part: bytes
) -> None:
    """Also on a connection that has had an answer."""
    server = serve_here(limits={"handshake_timeout_s": 0.3, "send_timeout_s": 0.3})

    async def converse() -> None:
        async with unharmed(server):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(whole)
            await asyncio.wait_for(reader.readuntil(b"}"), DEADLINE_S)
            writer.write(part)
            with suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), DEADLINE_S)
            writer.close()

    asyncio.run(converse())


def test_connections_that_never_ask_anything_leave_room_for_those_that_do(
    serve_here: ServeHere,
) -> None:
    server = serve_here(limits={"connections": 20})

    async def converse() -> None:
        async with unharmed(server):
            streams = [await asyncio.open_connection(server.host, server.port) for _ in range(40)]
            dropped = 0
            for reader, writer in streams[20:]:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await asyncio.wait_for(reader.readexactly(1), DEADLINE_S)
                dropped += 1
                writer.close()
            assert dropped == 20
            for _, writer in streams[:20]:
                writer.close()

    asyncio.run(converse())


def test_one_machine_leaves_connections_to_others(serve_here: ServeHere) -> None:
    addresses = routed_addresses()
    if not addresses:
        pytest.skip("this machine has no address but its own loopback")
    server = serve_here(server={"host": "0.0.0.0"}, limits={"connections": 8})

    async def converse() -> None:
        peer = (addresses[0], server.port)
        streams = [await asyncio.open_connection(*peer) for _ in range(5)]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(streams[4][0].readexactly(1), DEADLINE_S)
        async with client(server.url, MODEL) as other:
            await still_works(other)
        for _, writer in streams:
            writer.close()

    asyncio.run(converse())


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_in_the_middle_of_a_frame(server: Server, seed: int) -> None:
    async def converse() -> None:
        rng = random.Random(seed)
        message = json.dumps({"type": "session.update", "model": MODEL}).encode()
        audio = base64.b64encode(samples_to_pcm16(spoken(range(1, 50)))).decode()
        append = json.dumps({"type": "input_audio_buffer.append", "audio": audio}).encode()
        commit = b'{"type":"input_audio_buffer.commit"}'
        data = frame(message) + frame(commit) + frame(append)
        async with unharmed(server):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            await handshake(reader, writer)
            writer.write(data[: rng.randrange(1, len(data))])
            await writer.drain()
            if seed % 2:
                writer.transport.abort()
            else:
                writer.close()

    asyncio.run(converse())


def test_fifty_connections_at_once(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 8})

    async def one_client(number: int) -> str:
        try:
            async with client(server.url, MODEL) as one:
                numbers = range(number, number + 100)
                done = await one.transcribe(spoken(numbers))
                assert done["text"] == counting(numbers)
                return "served"
        except Refused as refusal:
            assert refusal.args == ("server_busy", 1013)
            return "busy"

    async def converse() -> list[str]:
        return await asyncio.gather(*(one_client(number * 200 + 1) for number in range(50)))

    outcomes = asyncio.run(converse())
    assert outcomes.count("served") >= 8
    assert set(outcomes) <= {"served", "busy"}
    assert "Traceback" not in server.log


async def connect_with_little_room(
    server: Server,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose client holds next to nothing that it has not read.

    The buffer is small from the start. One that shrinks later takes back room that the server
    was promised: the client's system then drops what comes, acknowledgements too (BeyondWindow
    in /proc/net/netstat), and both ends repeat themselves for minutes.
    """
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (server.host, server.port))
    return await asyncio.open_connection(sock=raw, limit=1)


async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An RFC 6455 opening handshake without a library that would read on."""
    key = base64.b64encode(os.urandom(16))
    writer.write(
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key
    )
    writer.write(b"\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await asyncio.wait_for(reader.readexactly(1), DEADLINE_S)
    assert head.startswith(b"HTTP/1.1 101")


def frame(payload: bytes) -> bytes:
    """One masked text frame (RFC 6455 section 5.2), the mask being zero."""
    size = len(payload)
    if size < 126:
        head = bytes([0x81, 0x80 | size])
    elif size < 2**16:
        head = bytes([0x81, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x81, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def wait_for_log(server: Server, text: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while text not in server.log:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
